"""How rows become trees: shared beginnings once, ancestors seen, learned weights added up."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.models.forest import Forest, Row, common_length, micro_batches


def row(items: list[int], name: str = "a", *, weights: list[float] | None = None, adapter: str = "") -> Row:
    return Row(items, weights or [0.0] + [1.0] * (len(items) - 1), name, adapter)


@pytest.mark.parametrize("shape", ["chains", "prompt", "labels", "deep", "twins", "mixed"])
@pytest.mark.parametrize("min_share", [1, 5, 16])
def test_layout_holds_every_row_and_shows_each_token_its_own_ancestors(
    shape: str, min_share: int, random_rows: Any
) -> None:
    rows = random_rows(shape, 7)
    forest = Forest.build(rows, min_share=min_share)
    position = {int(token): place for tokens in forest.row_tokens for place, token in enumerate(tokens)}
    assert set(position) == set(range(forest.num_tokens))
    for number, given in enumerate(rows):
        tokens = forest.row_tokens[number]
        assert forest.items[tokens].tolist() == given.items
        assert forest.depth[tokens].tolist() == list(range(len(given.items)))
        last = int(tokens[-1])
        seen = [k for k in range(last + 1) if last < forest.subtree_end[k]]
        assert seen == tokens.tolist()
        assert [int(forest.parent[t]) for t in tokens] == [-1, *tokens[:-1].tolist()]
    assert forest.num_row_tokens == sum(len(given.items) for given in rows)
    assert forest.last_tokens().tolist() == [int(tokens[-1]) for tokens in forest.row_tokens]


def test_a_shared_beginning_is_stored_once() -> None:
    prompt = list(range(50))
    forest = Forest.build([row([*prompt, 90 + n], str(n)) for n in range(4)])
    assert forest.num_tokens == 54 and forest.num_row_tokens == 204
    assert len(forest.trees) == 1
    assert [node.stop - node.start for node in forest.nodes(forest.trees[0])] == [50, 1, 1, 1, 1]


def test_short_beginnings_are_left_apart() -> None:
    rows = [row([1, 2, 3, 10 + n], str(n)) for n in range(3)]
    assert Forest.build(rows).num_tokens == 12
    assert Forest.build(rows, min_share=3).num_tokens == 6


def test_share_off_keeps_every_row_a_chain() -> None:
    rows = [row(list(range(40)), "a"), row(list(range(40)), "b")]
    forest = Forest.build(rows, share=False)
    assert forest.num_tokens == 80 and len(forest.trees) == 2


def test_learned_weights_add_up_on_a_shared_token() -> None:
    items = list(range(20))
    forest = Forest.build(
        [row(items, "a", weights=[0.0] * 10 + [1.0] * 10), row(items, "b", weights=[0.0] * 15 + [0.5] * 5)]
    )
    assert forest.num_tokens == 20
    assert forest.num_learned == 10 + 2.5
    assert forest.weight_K.tolist() == [1.0] * 5 + [1.5] * 5
    assert forest.target_K.tolist() == items[10:]
    assert forest.from_K.tolist() == list(range(9, 19))


def test_the_first_token_is_never_predicted() -> None:
    forest = Forest.build([row([5, 6], weights=[1.0, 1.0])])
    assert forest.target_K.tolist() == [6]


def test_groups_are_merged_only_inside_themselves() -> None:
    items = list(range(30))
    groups = [[row([*items, 40], "a"), row([*items, 41], "b")], [row([*items, 42], "c")]]
    forest = Forest.of_groups(groups)
    assert len(forest.trees) == 2 and forest.num_tokens == 32 + 31
    assert [given.example for given in forest.rows] == ["a", "b", "c"]


def test_no_rows_make_an_empty_forest() -> None:
    assert Forest.build([]).num_tokens == 0


def test_tokens_know_the_length_of_their_longest_row() -> None:
    forest = Forest.build([row(list(range(30))), row([*range(20), 99])], min_share=1)
    assert forest.longest_N.max() == 30
    assert int(forest.longest_N[forest.row_tokens[1][-1]]) == 21
    assert torch.equal(forest.longest_N[forest.row_tokens[0]], torch.full((30,), 30))


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 5], [2, 5], 0), ([1] * 9, [1] * 8 + [2], 8)],
)
def test_common_length(a: list[int], b: list[int], length: int) -> None:
    assert common_length(a, b) == common_length(b, a) == length


def test_micro_batches_keep_the_budget_and_count_a_shared_prompt_once() -> None:
    prompt = list(range(100))
    units = [[row([*prompt, *[200 + n] * 10], str(n))] for n in range(20)]
    batches = micro_batches(units, 210)
    assert all(Forest.build(batch).num_tokens <= 210 for batch in batches)
    assert len(batches) == 2
    assert len(micro_batches(units, 210, share=False)) == 20

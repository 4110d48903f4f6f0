"""F19, F20, F22, F24: end, beginning and mask of what is learned; tied embeddings through training, merge and
reload.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models.chat import Chat
from tunewright.models.decode import Decode, prompt_ids
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest, Row
from tunewright.models.opening import open_model
from tunewright.models.tunable import TunableModel
from tunewright.objectives.sft import Sft
from tunewright.training.encoding import encode
from tunewright.training.step import Stepper

SAID = [("my card was stolen", "blocked"), ("what does a euro cost", "see the rates"), ("where is it", "on Monday")]
CALLS = (
    "{{ bos_token or '' }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def example(number: int, question: str, answer: str) -> Example:
    """One question, one answer."""
    said = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Example(id=f"e{number}", messages=said)


def tokenizer_of(folder: Path, **changes: Any) -> Any:
    """The tokenizer of a tiny model, changed."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_the_end_is_learned_although_it_pads_too(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer_of(tiny("llama"), eos_token="<|im_end|>", pad_token="<|im_end|>")
    AutoModelForCausalLM.from_pretrained(tiny("llama")).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = open_model(ModelOptions(base=str(tmp_path)))
    end = model.chat.tokenizer.eos_token_id
    assert end == model.chat.tokenizer.pad_token_id
    objective = Sft()
    data = encode([example(n, *said) for n, said in enumerate(SAID)], objective, model.chat, max_tokens=100)
    for (row,) in data.units:
        assert row.items[-1] == end
        assert row.weights[-1] == 1.0
    method = catalog.build("methods", "full")
    method.attach(model.net)
    options = TrainOptions(lr=0.003, micro_tokens=4096, weight_decay=0)
    stepper = Stepper(model, method, objective, options)
    for step in range(100):
        stepper.take(data.units, factor=1 - step / 100, seed=step)
    prompts = [model.chat.prompt_ids([{"role": "user", "content": question}]) for question, _ in SAID]
    for answer, (_, expected) in zip(Engine(model).generate(prompts, max_new_tokens=60), SAID, strict=True):
        assert model.chat.answer_text(answer.ids) == expected
        assert answer.finish == "stop"


def test_one_bos_although_template_and_tokenizer_both_add_it(tiny: Callable[[str], Path]) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tokenizer_of(tiny("llama"), bos_token="<|endoftext|>", chat_template=CALLS)
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", bos)]
    )
    asked = [{"role": "user", "content": "where is my card?"}]
    rendered = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert tokenizer(rendered).input_ids[:2] == [bos, bos], "the trap is set"
    chat = Chat(tokenizer)
    trained = chat.turns(Example(id="e", messages=[*asked, {"role": "assistant", "content": "in the post"}]))[0]
    evaluated = chat.prompt_ids(asked)
    served = prompt_ids(chat, Decode(), asked)
    assert trained.prompt == evaluated == served
    for ids in (trained.prompt + trained.answer, evaluated, served, chat.beginning_ids("a document")):
        assert ids[0] == bos
        assert ids.count(bos) == 1
    document = chat.text_ids("a document")  # begins and ends with it: in this tokenizer the end token is the same
    assert document[0] == document[-1] == bos
    assert document.count(bos) == 2


def spans(chat: Chat, row: Row) -> list[str]:
    """The text of each unbroken stretch of learned tokens."""
    found: list[list[int]] = []
    for position, (item, weight) in enumerate(zip(row.items, row.weights, strict=True)):
        if weight > 0:
            if position == 0 or row.weights[position - 1] == 0:
                found.append([])
            found[-1].append(item)
    return [chat.decode(ids, keep_control=True) for ids in found]


CALL = {"type": "function", "function": {"name": "balance", "arguments": {"account": "current"}}}
LONG = Example.model_validate(
    {
        "id": "long",
        "messages": [
            {"role": "system", "content": "You are a bank's desk."},
            {"role": "user", "content": "What is my balance?"},
            {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
            {"role": "tool", "content": "assistant said: 12 euros"},
            {"role": "assistant", "content": "You have 12 euros."},
            {"role": "user", "content": "Thanks. Block my card."},
            {"role": "assistant", "content": "Which one?", "weight": 0},
            {"role": "user", "content": "The red one."},
            {"role": "assistant", "content": "It is blocked."},
        ],
    }
)


def test_learned_spans_are_the_assistant_s_turns_and_nothing_else(tiny: Callable[[str], Path]) -> None:
    chat = Chat(tokenizer_of(tiny("llama"), chat_template=CALLS))
    rows = Sft().encode(LONG, chat, max_tokens=512)
    called = chat.tokenizer.apply_chat_template([LONG.messages[2].for_template()], tokenize=False)
    call = called.removeprefix("<|im_start|>assistant\n").removesuffix("\n")
    assert "balance" in call
    assert [spans(chat, row) for row in rows] == [
        [call],
        ["You have 12 euros.<|im_end|>"],
        ["It is blocked.<|im_end|>"],
    ]


def test_rows_that_are_too_long_lose_their_end_or_are_reported(tiny: Callable[[str], Path]) -> None:
    chat = Chat(tokenizer_of(tiny("llama"), chat_template=CALLS))
    whole = Sft().encode(LONG, chat, max_tokens=512)
    before_last = len(chat.turns(LONG)[-1].prompt)
    for max_tokens in range(before_last - 1, before_last + 4):
        cut = Sft().encode(LONG, chat, max_tokens=max_tokens)
        assert [spans(chat, row) for row in cut[:2]] == [spans(chat, row) for row in whole[:2]]
        for row in cut[2:]:
            (span,) = spans(chat, row)
            assert "It is blocked.<|im_end|>".startswith(span)
            assert len(row.items) == max_tokens
        assert len(cut) == (3 if max_tokens > before_last else 2)
    short = example(1, "hi", "ok")
    prompt = len(chat.turns(short)[0].prompt)
    found = encode([LONG, short], Sft(), chat, max_tokens=prompt + 3)
    assert found.unlearned == ["long"]
    assert found.ids == ["e1"]
    assert all(row.num_learned > 0 for unit in found.units for row in unit)


METHODS = [
    {"kind": "full"},
    {"kind": "last_layers", "layers": 1, "head": True},
    {"kind": "lora", "rank": 4},
]
PROBE = [Row([(13 * n) % 290 for n in range(30)], [0.0] + [1.0] * 29, "probe")]


def said_by(model: TunableModel) -> torch.Tensor:
    """Log-prob of each token of the probe."""
    with torch.no_grad():
        return model.token_logprobs(Forest.build(PROBE))


@pytest.mark.parametrize("options", METHODS, ids=lambda options: options["kind"])
def test_tied_embeddings_survive_training_merge_and_reload(
    tiny: Callable[[str], Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    base = ModelOptions(base=str(tiny("qwen2")))
    model, method, objective = open_model(base), catalog.build("methods", options), Sft()
    assert model.net.config.tie_word_embeddings
    untouched = said_by(model)
    method.attach(model.net)
    data = encode([example(n, *said) for n, said in enumerate(SAID)], objective, model.chat, max_tokens=100)
    stepper = Stepper(model, method, objective, TrainOptions(lr=0.01, micro_tokens=4096))
    for step in range(5):
        assert stepper.take(data.units, factor=1.0, seed=step).taken
    trained = said_by(model)
    assert float((trained - untouched).abs().max()) > 1e-3
    method.save(model.net, tmp_path / "trained")
    again = open_model(base)
    method.attach(again.net)
    method.load(again.net, tmp_path / "trained")
    assert torch.equal(said_by(again), trained)
    method.merge(again.net)
    again.save(tmp_path / "merged")
    merged = open_model(ModelOptions(base=str(tmp_path / "merged")))
    assert float((said_by(merged) - trained).abs().max()) <= 1e-5
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="float32").eval()
    ids = torch.tensor([PROBE[0].items])
    with torch.no_grad():
        logp = plain(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    assert float((logp - trained).abs().max()) <= 1e-5
    tied = torch.equal(plain.get_input_embeddings().weight, plain.get_output_embeddings().weight)
    assert tied == plain.config.tie_word_embeddings

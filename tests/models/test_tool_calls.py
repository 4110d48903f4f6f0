"""What a template prints of calls is read back as the same calls; what is no call stays text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import make_tokenizer
from tunewright.models.chat import Chat
from tunewright.models.tool_calls import Call, ToolForm

START = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}{% if m.tool_calls %}"
END = "{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
END += "{% endif %}"
CALLS = {
    "tagged": "{% for t in m.tool_calls %}{% if not loop.first %}{{ '\n' }}{% endif %}{{ '<tool_call>\n' }}"
    """{{ '{"name": "' + t.function.name + '", "arguments": ' }}"""
    "{{ t.function.arguments if t.function.arguments is string else t.function.arguments | tojson }}"
    "{{ '}\n</tool_call>' }}{% endfor %}",
    "bare": '{% for t in m.tool_calls %}{{ \'{"name": "\' + t.function.name + \'", "parameters": \' + '
    "(t.function.arguments | tojson) + '}' }}{% endfor %}",
    "marked list": "{{ '[TOOL_CALLS] [' }}{% for t in m.tool_calls %}{% if not loop.first %}{{ ', ' }}{% endif %}"
    '{{ \'{"name": "\' + t.function.name + \'", "arguments": \' + (t.function.arguments | tojson) + \', "id": "\' + '
    "t.id + '\"}' }}{% endfor %}{{ ']' }}",
    "whole": "{{ m.tool_calls | tojson }}",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "news")
]


def chat_of(template: str) -> Chat:
    return Chat(make_tokenizer(template))


def printed(chat: Chat, calls: list[tuple[str, Any]]) -> str:
    """What training would teach for an answer with these calls."""
    from tunewright.core.example import Example, Message

    listed = [
        {"id": f"call{number:05}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    said = Message(role="assistant", content="", tool_calls=listed)
    turns = chat.turns(Example(id="x", messages=[Message(role="user", content="q"), said]))
    return chat.answer_text(turns[-1].answer)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_printed_calls_are_read_back(kind: str, count: int) -> None:
    chat = chat_of(START + CALLS[kind] + END)
    form = ToolForm.of(chat)
    assert form is not None
    calls = [("weather", {"city": 'Rome "old" {x}', "days": number}) for number in range(count)]
    read = form.read(printed(chat, calls), {"weather", "news"})
    assert read is not None and read.content == ""
    assert [(call.name, json.loads(call.arguments)) for call in read.calls] == calls


def test_text_before_calls_is_content_and_other_text_is_no_call() -> None:
    chat = chat_of(START + CALLS["tagged"] + END)
    form = ToolForm.of(chat)
    assert form is not None
    said = f"One moment. {printed(chat, [('news', {'city': 'Oslo'})])}"
    read = form.read(said, {"news"})
    assert read is not None
    assert (read.content, read.calls) == ("One moment.", [Call("news", '{"city": "Oslo"}')])
    for text in (
        "no call at all",
        "",
        said.replace("news", "unknown"),
        said[:-20],
        "<tool_call>\nnot json\n</tool_call>",
        "<tool_call>\n[]\n</tool_call>",
        "<tool_call>\n" + "[" * 100_000,
    ):
        assert form.read(text, {"news"}) is None


def test_a_growing_answer_is_held_back_where_calls_may_begin() -> None:
    tagged = ToolForm.of(chat_of(START + CALLS["tagged"] + END))
    bare = ToolForm.of(chat_of(START + CALLS["bare"] + END))
    assert tagged is not None and bare is not None
    assert tagged.start("Hello <tool_") == 6 and tagged.start("Hello <tool_call> x") == 6
    assert tagged.start("Hello") is None and tagged.start("a < b") is None
    assert bare.start("") == 0 and bare.start(' {"na') == 1 and bare.start("Hello {") is None


def test_a_template_without_calls_has_no_form() -> None:
    assert ToolForm.of(chat_of(START + "calls" + END)) is None
    assert ToolForm.of(chat_of(START + END)) is None


@pytest.mark.parametrize("kind", CALLS)
def test_the_grammar_takes_what_the_template_prints_and_nothing_else(kind: str) -> None:
    llguidance = pytest.importorskip("llguidance")
    from llguidance.hf import from_tokenizer

    chat = chat_of(START + CALLS[kind] + END)
    form = ToolForm.of(chat)
    assert form is not None
    grammar = form.grammar(TOOLS)
    assert not llguidance.LLMatcher.validate_grammar(grammar)
    reader = from_tokenizer(chat.tokenizer, n_vocab=len(chat.tokenizer), eos_token=[chat.end_id])

    def taken(text: str) -> bool:
        matcher = llguidance.LLMatcher(reader, grammar, log_level=0)
        return all(matcher.consume_token(token) for token in chat.tokenizer(text).input_ids) and matcher.is_accepting()

    assert taken(printed(chat, [("news", {"city": "Rome"})]))
    assert taken(printed(chat, [("weather", {"city": ""})]))
    assert not taken(printed(chat, [("other", {"city": "Rome"})]))
    assert not taken("Rome is nice.")
    if kind != "whole":
        assert not taken(printed(chat, [("news", {"town": "Rome"})]))

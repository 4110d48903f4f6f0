"""Templates that only print contents are rendered once for each pattern of roles, and to the same letters."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import TemplateError

from tunewright.core.errors import DataError
from tunewright.models.bases import base_folder
from tunewright.models.chat import PLAIN_TEMPLATE
from tunewright.models.skeletons import Skeletons, only_prints

NANO = (Path(base_folder("nano")) / "chat_template.jinja").read_text(encoding="utf-8")
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system\nHelp."
    "<|im_end|>\n{% endif %}{{ '<|im_start|>' + message.role + '\n' + message.content | trim + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM_FIRST = (
    "{%- if messages[0].role == 'system' %}{{- '[SYS]' ~ messages[0]['content'] ~ '[/SYS]' }}{%- endif %}"
    "{%- set kinds = 'user' %}"
    "{%- for message in messages %}{%- if message.role in ['user', 'developer'] and not loop.last %}U: "
    "{{ message['content'] or '' }}{%- elif message.role == 'assistant' %}"
    "{{ message.content if message.content else 'nothing' }}{{ eos_token }}"
    "{%- elif message.role != 'system' %}{{ messages[loop.index0 - 1].role }}>{{ message.content }}|{%- endif %}"
    "{%- if message.content is string %}.{%- endif %}{%- endfor %}{{ messages | length }}"
)
WITH_TOOLS = (
    "{%- if tools %}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{%- endif %}"
    "{%- for message in messages %}{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('Speak in turns.') }}{%- endif %}"
    "{%- if message.role == 'assistant' and message.tool_calls %}{%- for call in message.tool_calls %}"
    "{{- call.function.name + call['arguments'] | tojson }}{%- endfor %}{%- else %}"
    "{{- '<' + message.role + '>' + message.content + '</' ~ message['role'] ~ '>' }}{%- endif %}{%- endfor %}"
)
REFUSES = "{% for m in messages %}{% if m.role == 'tool' %}{{ 1 + m.role }}{% endif %}{{ m.content }}{% endfor %}"
PRINTING = {"nano": NANO, "plain": PLAIN_TEMPLATE, "chatml": CHATML, "system first": SYSTEM_FIRST, "tools": WITH_TOOLS}
CONTENTS = ("", " ", "a", " b\n", "\u2003wide\u2003", "\U000f0000", "x" * 300, "{{ 1 }}", "<|im_end|>", "\u00e9\u4e2d")


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_folder("nano"))


def conversations(count: int) -> list[list[dict[str, str]]]:
    draw = random.Random(3)
    roles = ("system", "user", "assistant", "tool", "developer")
    return [
        [{"role": draw.choice(roles), "content": draw.choice(CONTENTS)} for _ in range(draw.randint(1, 6))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", PRINTING)
def test_filled_skeletons_are_what_the_template_renders(name: str) -> None:
    known, rendered = tokenizer(), 0

    def render(messages: Any, generation_prompt: bool) -> str:
        nonlocal rendered
        rendered += 1
        options = {"tokenize": False, "add_generation_prompt": generation_prompt, "chat_template": PRINTING[name]}
        try:
            return str(known.apply_chat_template(messages, **options))
        except TemplateError as error:
            raise DataError(str(error)) from None

    skeletons = Skeletons(PRINTING[name], render)
    assert skeletons.usable
    again = [[{**one, "content": one["content"] and f"{one['content']}!"} for one in c] for c in conversations(300)]
    for messages in [*conversations(300), *again]:
        for generation_prompt in (False, True):
            found = skeletons.text(messages, generation_prompt)
            asked = rendered
            if found is None:
                with pytest.raises(DataError, match="Speak in turns"):
                    render(messages, generation_prompt)
            else:
                assert found == render(messages, generation_prompt)
            rendered = asked
    assert rendered <= 600  # not once more for the conversations that only say something else


@pytest.mark.parametrize("template", [
    "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
    "{% for m in messages %}{% if 'x' in m.content %}{{ m.content }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if m.content == 'x' %}{{ m.content }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% set text = m.content %}{{ text }}{% endfor %}",
    "{% for m in messages[1:] %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m | tojson }}{% endfor %}",
    "{% for m in messages %}{{ m['con' + 'tent'] | length }}{% endfor %}",
    "{% for m in messages %}{{ m.content.split('x')[0] }}{% endfor %}",
    "{% for m in messages %}{{ m.content[0] }}{% endfor %}",
    "{% for m in messages %}{{ (m.role + m.content) | trim }}{% endfor %}",
    "{% for m in messages %}{{ (m.content | trim) or 'nothing' }}{% endfor %}",
    "{% for m in messages %}{{ m.content or 'nothing' }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.content | length }}{% endfor %}",
    "{% for m in messages if m.content != 'x' %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m.values }}{% endfor %}",
    "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}",
    "{% set ns = namespace(a=messages[0].content) %}{{ ns.a | length }}",
    "{% macro say(m) %}{{ m.content | length }}{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}",
    "{{ messages }}",
    "{% for m in messages %}{% for part in m.content %}{{ part }}{% endfor %}{% endfor %}",
    "{% for m in messages %}{% for m in tools %}{{ m.content | length }}{% endfor %}{% endfor %}",
    "{% for m in messages %}{{ raise_exception(m.content) }}{% endfor %}",
    "{% for m in messages %}{% for key in m %}{{ m[key] }}{% endfor %}{% endfor %}",
    "{% set all = messages %}{% for m in all %}{{ m.content | length }}{% endfor %}",
    "{% for m in [messages] %}{{ m[0].content | length }}{% endfor %}",
    "{% for m in messages %}{{ m.content }}{% endfor",
])  # fmt: skip
def test_a_template_that_looks_into_contents_is_asked_each_time(template: str) -> None:
    assert not only_prints(template)


@pytest.mark.parametrize("sign", ["\u2003", "'\\u2003'", "\U000f0001"])
def test_a_template_that_prints_our_signs_is_asked_each_time(sign: str) -> None:
    template = f"{sign}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}"
    assert only_prints(template)
    assert not Skeletons(template, lambda messages, prompt: "").usable


def test_what_a_template_refuses_or_says_of_tools_is_left_to_it() -> None:
    asked = []

    def render(messages: Any, generation_prompt: bool) -> str:
        asked.append(messages)
        raise DataError("refused")

    skeletons = Skeletons(REFUSES, render)
    assert skeletons.text([{"role": "tool", "content": "x"}], False) is None
    assert len(asked) == 1
    for odd in ({"role": "user"}, {"role": "user", "content": None}, {"role": "user", "content": "a", "name": "b"}):
        assert skeletons.text([odd], False) is None
    assert len(asked) == 1

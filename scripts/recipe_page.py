"""Writes docs/recipe.md from the recipe's own models: python scripts/recipe_page.py"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tunewright.core import catalog, recipe

PAGE = Path(__file__).parent.parent / "docs" / "recipe.md"
FAMILIES = {
    "methods": "`method`",
    "objectives": "`objective`",
    "retention": "`retention`",
    "graders": "`evaluate.graders`",
    "contestants": "`evaluate.against`",
    "guards": "`evaluate.guards`",
    "monitors": "`monitor.monitors`",
    "exporters": "`deploy.formats`",
    "edits": "`data.augment.edits`",
}
WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything", type(None): "null"}
LIMITS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"), ("min_length", "length >="))
FILLED = "filled by `choose`"  # a key without a default that the stage choose fills, with its reason
FILLED_KEYS = {
    "method",
    "train.epochs",
    "train.batch",
    "train.lr",
    "train.max_tokens",
    "train.micro_tokens",
    "train.checkpoint_layers",
    "train.evaluate_every",
    "train.save_every",
    "train.threads",
    "train.store_frozen",
    "evaluate.against",
    "evaluate.graders",
    "evaluate.max_new_tokens",
    "deploy.formats",
}
MEANINGS = {
    "name": "the run's name: its folder under `runs/`; the recipe's folder name when left out",
    "method": "which weights change: a name, or a mapping with `kind` and options",
    "objective": "what is learned: a name, or a mapping with `kind` and options",
    "model": "a name, a folder or a Hub id; or a mapping with the keys below",
}
INTRO = """# Every key of a recipe

This page is made by `python scripts/recipe_page.py` from the models that check a recipe: it cannot disagree with them.

A recipe is YAML or JSON. Paths are relative to the recipe's folder. An unknown key is an error that names the nearest
known one; all problems are told at once, before anything is spent (`tunewright check RECIPE`). `--set key=value`
changes any key from the command line, in dotted form: `--set train.lr=0.001 --set method=lora --set method.rank=8`.

What you leave out is filled with a default or by the stage `choose`, and written into `runs/<name>/recipe.yaml` with
its reason. How `choose` decides: [choose.md](choose.md). `tunewright schema` prints the JSON schema for editors;
`tunewright init --list` names starter recipes. A complete recipe:

```yaml
name: bank-intents
data:
  sources: [train.jsonl]
  test: test.jsonl
model: nano
method: {kind: lora, rank: 16}
objective: sft
train: {epochs: 3, batch: 16, lr: 0.002, seed: 0}
evaluate:
  graders: [exact, label_f1]
  against: [base, few_shot]
  goal: {grader: exact, at_least: 0.8, beat: [base, few_shot]}
deploy: {formats: [adapter, merged]}
```
"""
PARTS = """
## Parts

Where a key takes a part, give its name (`method: lora`) or a mapping with `kind` and options
(`method: {kind: lora, rank: 8}`). A part's name is the name of its file.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRO]
    for title, keys in _sections(recipe.Recipe, ""):
        lines += [f"\n## {title}\n", *_table(keys), ""]
    lines.append(PARTS)
    for family, where in FAMILIES.items():
        lines.append(f"\n### {family.capitalize()} ({where})\n")
        for kind in catalog.kinds(family):
            part = catalog.part_class(family, kind)
            lines.append(f"**`{kind}`**: {_first_paragraph(part)}\n")
            keys = [_row("", name, info) for name, info in part.model_fields.items()]
            lines += [*_table(keys), ""] if keys else []
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def _sections(block: type[BaseModel], prefix: str) -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """The block's own keys, then each block inside it."""
    title = f"`{prefix.rstrip('.')}`" if prefix else "The top"
    yield title, [_row(prefix, name, info) for name, info in block.model_fields.items()]
    for name, info in block.model_fields.items():
        inner = _block(info)
        if inner:
            yield from _sections(inner, f"{prefix}{name}.")


def _row(prefix: str, name: str, info: FieldInfo) -> tuple[str, str, str, str]:
    """Key, type, default, meaning."""
    key = f"{prefix}{info.alias or name}"
    inner = _block(info)
    if inner and not info.description and key not in MEANINGS:
        return key, "mapping", "see below" if not info.is_required() else "needed", f"the keys under `{key}`, below"
    meaning = info.description or MEANINGS.get(key, "")
    assert meaning, f"{key} has no description"
    return key, _type(info.annotation) + _limits(info), _default(key, info), meaning


def _type(annotation: Any) -> str:
    """A type in the words of this page; null is left out, the default says it."""
    if annotation in WORDS:
        return WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        if set(inner) - {type(None)} == set(get_args(recipe.PartChoice)):
            return "part"
        return " or ".join(_type(part) for part in inner if part is not type(None))
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        return f"list of {_type(inner[0])}s".replace("texts", "text")
    if origin is tuple:
        return f"{len(inner)} {_type(inner[0])}s"
    assert origin is dict, annotation
    return "mapping"


def _limits(info: FieldInfo) -> str:
    pairs = [(limit, name, sign) for limit in info.metadata for name, sign in LIMITS]
    found = [f"{sign} {getattr(limit, name):g}" for limit, name, sign in pairs if hasattr(limit, name)]
    return f", {', '.join(found)}" if found else ""


def _default(key: str, info: FieldInfo) -> str:
    if key in FILLED_KEYS:
        return FILLED
    if key == "name" and info.is_required():
        return "the folder's name"
    if key == "model":
        return "`nano`"
    if info.is_required():
        return "needed"
    value = info.default
    assert value is not PydanticUndefined, key
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, list | tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`".replace("\n", "\\n")


def _block(info: FieldInfo) -> type[BaseModel] | None:
    for annotation in (info.annotation, *get_args(info.annotation)):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
    return None


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        "| key | type | default | meaning |",
        "|---|---|---|---|",
        *(f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in escaped),
    ]


def _first_paragraph(part: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(part.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

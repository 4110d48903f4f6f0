"""What the pages show can be used as it stands: recipes are valid, parts are known, links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunewright.core import catalog, checks, phases, yaml_text
from tunewright.core.errors import RecipeError
from tunewright.core.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
RECIPE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PART = re.compile(r"`(\{kind: [^`]*\})`")
FENCED = re.compile(r"```.*?```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FAMILIES = ("methods", "objectives", "retention", "graders", "contestants", "detectors", "edits", "guards", "monitors")


SHOWN = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    for number, text in enumerate(RECIPE.findall(page.read_text(encoding="utf-8")), 1)
]
EARLIER = "name: earlier\ndata: {sources: [train.jsonl]}\nmethod: lora\nobjective: reward\n"  # of runs that are named


def whole(shown: dict[str, Any]) -> dict[str, Any]:
    """A recipe with what is shown in it; a reward is one of grpo."""
    if "reward" in shown:
        shown = {"objective": {"kind": "grpo", **shown}}
    return {"name": "shown", "data": {"sources": ["train.jsonl"]}} | shown


def named(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of plain values, with its key."""
    if isinstance(values, dict):
        for inner, value in values.items():
            yield from named(value, inner)
    elif isinstance(values, list):
        for value in values:
            yield from named(value, key)
    elif isinstance(values, str):
        yield key, values


FILES = (
    "sources",
    "test",
    "validation",
    "documents",
    "more",
    "crows_pairs",
    "bbq",
    "calibrate",
    "cases",
    "file",
    "examples",
    "texts",
    "suites",
    "lm_eval_folder",
    "path",
)


def make_files(values: dict[str, Any], folder: Path) -> None:
    """The files that a recipe names, empty, and its earlier runs."""
    for key, name in named(values):
        if key in FILES:
            (folder / name).touch()
        elif name.startswith("runs/"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "run.json").write_text("{}")
            (folder / name / "recipe.yaml").write_text(EARLIER)


@pytest.mark.parametrize("text", SHOWN)
def test_a_shown_recipe_has_no_problem(text: str, tmp_path: Path) -> None:
    values = whole(yaml_text.read(text))
    make_files(values, tmp_path)
    recipe = Recipe.parse(values, folder=tmp_path)
    assert checks.problems(recipe) == []
    assert len(phases.look(recipe).phases) == len(values.get("phases", []))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_part_named_in_a_sentence_can_be_made(page: Path) -> None:
    for text in PART.findall(page.read_text(encoding="utf-8")):
        if "..." in text:
            continue
        choice = yaml.safe_load(text)
        families = [family for family in FAMILIES if choice["kind"] in catalog.kinds(family)]
        assert families, text
        choice.pop("weight", None)
        for family in families:
            try:
                catalog.build(family, choice)
            except RecipeError as error:
                pytest.fail(f"{page.name}: {text}: {error}")


@pytest.mark.parametrize(
    ("family", "page"),
    [
        ("methods", "methods"),
        ("objectives", "objectives"),
        ("retention", "phases"),
        ("graders", "evaluate"),
        ("edits", "more-data"),
        ("guards", "guards"),
        ("monitors", "monitor"),
        ("contestants", "evaluate"),
    ],
)
def test_every_part_of_a_family_is_told_of_on_its_page(family: str, page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert not [kind for kind in catalog.kinds(family) if f"`{kind}`" not in text]


def test_every_starter_is_named_on_its_page() -> None:
    text = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
    starters = (ROOT / "src" / "tunewright" / "resources" / "recipes").glob("*.yaml")
    assert not [path.stem for path in starters if f"`{path.stem}`" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: Path) -> None:
    cells = 0
    for line in FENCED.sub("", page.read_text(encoding="utf-8")).splitlines():
        count = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and count) or count == cells, f"{page.name}: {line}"
        cells = count


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_their_headings(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    plain = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

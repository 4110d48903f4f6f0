"""Writes the tree in docs/architecture.md from the files that are there: python scripts/tree_page.py"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tunewright"
PAGE = ROOT / "docs" / "architecture.md"
FOLDERS = (
    ("core", "0"), ("data", "1"), ("privacy", "1"), ("models", "1"), ("workspace", "1"),
    ("methods", "2"), ("objectives", "2"),
    ("retention", "2"), ("detectors", "2"),
    ("graders", "2"), ("contestants", "2"), ("exporters", "2"), ("edits", "2"), ("guards", "2"), ("monitors", "2"),
    ("proofs", "2"), ("training", "2"),
    ("stages", "3"), ("server", "4"), ("server/routes", "4"), ("server/wire", "4"), ("web", "4"),
    ("cli", "5"), ("cli/alias", "5"), ("cli/data", "5"), ("cli/keys", "5"), ("cli/migrate", "5"),
)  # fmt: skip
OTHER_FILES = {
    "web": {
        "report.html": "The report page's template",
        "report.css": "and its style, light and dark",
        "rate.html": "The page on which people rate",
        "rate.css": "its style, beside that of the report page",
        "rate.js": "and what its keys do",
    }
}
RESOURCES = (
    ("recipes/*.yaml", "Starter recipes, written out by `tunewright init`"),
    ("nano/", "The bundled base: a small Llama with a chat template"),
)
BEGIN, END = "<!-- tree: made by scripts/tree_page.py -->\n```\n", "```\n<!-- end of the tree -->"
WIDTH = 26  # the column of the sentences
LONGEST = 92


def tree() -> str:
    """Every module of the package with what it is, floor by floor."""
    lines = ["src/tunewright/", _line(2, "__init__.py", "The Python API: the stages by name, imported when used")]
    for folder, floor in FOLDERS:
        lines.append(_line(2, f"{folder}/", f"floor {floor}"))
        files = {path.name: said(path) for path in sorted((SOURCE / folder).glob("*.py")) if path.stem != "__init__"}
        init = SOURCE / folder / "__init__.py"
        if folder == "cli":
            files = {"__init__.py": said(init)} | files
        lines += [_line(4, name, about) for name, about in (files | OTHER_FILES.get(folder, {})).items()]
    lines.append(_line(2, "resources/", "files that come with the package"))
    lines += [_line(4, name, about) for name, about in RESOURCES]
    return "\n".join(lines) + "\n"


def said(path: Path) -> str:
    """The first sentence of a module's docstring, without a leading repetition of its name."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    first = re.split(r"(?<=[a-z0-9)])\. (?=[A-Z])", text)[0].rstrip(".")
    first = re.sub(r"^(Floor \d|Stage \w+|Proof|Deploy|[a-z_0-9]+): ", "", first)
    while len(first) > LONGEST and (pieces := re.split(r"([;:,] )", first))[2:]:
        first = "".join(pieces[:-2])  # a picture, not the whole story
    return first[0].upper() + first[1:]


def _line(indent: int, name: str, about: str) -> str:
    assert indent + len(name) < WIDTH, f"{name} is too long for the column: raise WIDTH"
    return f"{' ' * indent}{name:<{WIDTH - indent}}{about}".rstrip()


def named(page: str) -> set[str]:
    """The paths (below src/tunewright) of all modules that the tree on a page names."""
    found, folder = set(), ""
    for line in page.split(BEGIN)[1].split(END)[0].splitlines()[1:]:
        name = line.split()[0]
        if line.startswith("    "):
            found.add(folder + name)
        elif name.endswith("/"):
            folder = name
        else:
            found.add(name)
    return {name for name in found if name.endswith(".py")}


def modules() -> set[str]:
    """The paths of all modules that are there, without the empty ones that only make a folder a package."""
    paths = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    return {path for path in paths if not path.endswith("/__init__.py") or path == "cli/__init__.py"}


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + tree() + END + rest.split(END)[1], encoding="utf-8")

"""The tree keeps its shape: imports go down one way, families do not know each other, parts are named after files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunewright.core import catalog

SOURCE = Path(__file__).parents[2] / "src" / "tunewright"
FLOORS = {
    "core": 0,
    "data": 1, "privacy": 1, "models": 1, "workspace": 1,
    "methods": 2, "objectives": 2, "retention": 2, "detectors": 2, "graders": 2, "contestants": 2, "exporters": 2,
    "edits": 2, "guards": 2, "monitors": 2,
    "proofs": 2, "training": 2,
    "stages": 3,
    "server": 4, "web": 4,
    "cli": 5,  # a door like the others, which also opens the server
}  # fmt: skip
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "peft",
    "polars",
    "sklearn",
    "scipy",
    "fastapi",
    "accelerate",
    "sacrebleu",
    "sqlalchemy",
}
LAZY = {"core", "data", "methods", "objectives", "retention", "graders", "contestants", "exporters", "proofs"}
LAZY |= {"stages", "cli", "privacy", "detectors", "edits", "guards", "monitors"}
FILES = sorted(path for path in SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]


def folder_of(path: Path) -> str:
    """The folder below tunewright/ that a file is in ("" for the package's own __init__)."""
    return path.relative_to(SOURCE).parts[0] if path.parent != SOURCE else ""


def imports(path: Path, *, lazy: bool = True, typing: bool = True) -> Iterator[str]:
    """Dotted names that a file imports: also inside functions (lazy) and for type checkers (typing)."""
    found: list[str] = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            if typing:
                for child in node.body:
                    visit(child, inside)
            for child in node.orelse:
                visit(child, inside)
            return
        if isinstance(node, ast.Import) and (lazy or not inside):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (lazy or not inside):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
        deeper = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, deeper)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    yield from found


def own_folders(path: Path) -> set[str]:
    """Folders of tunewright that a file imports from, now or later; names for type checkers bind nothing."""
    parts = [name.split(".") for name in imports(path, typing=False) if name.split(".")[0] == "tunewright"]
    return {part[1] for part in parts if len(part) > 1 and part[1] in FLOORS}


def test_every_folder_has_a_floor() -> None:
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert folders <= FLOORS.keys()
    assert {"core", "models", "stages", "cli"} <= folders


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_down_one_way(path: Path) -> None:
    if folder_of(path) in ("", "resources"):
        return
    mine = FLOORS[folder_of(path)]
    wrong = {name for name in own_folders(path) if name != folder_of(path) and FLOORS[name] >= mine}
    assert not wrong, f"{path.relative_to(SOURCE)} (floor {mine}) imports from {sorted(wrong)}"


def test_core_and_data_never_import_torch() -> None:
    for path in FILES:
        if folder_of(path) in ("core", "data", "privacy", "workspace"):
            roots = {name.split(".")[0] for name in imports(path, typing=False)}
            assert not roots & {"torch", "transformers", "peft"}, path


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    if folder_of(path) in LAZY or folder_of(path) == "":
        roots = {name.split(".")[0] for name in imports(path, lazy=False, typing=False)}
        assert not roots & HEAVY, f"{path.relative_to(SOURCE)} imports {sorted(roots & HEAVY)} at its top"


@pytest.mark.parametrize(
    "line", ["import tunewright", "import tunewright.cli; sys.argv[1:] = ['--help']; tunewright.cli.main()"]
)
def test_import_and_help_load_nothing_heavy(line: str) -> None:
    code = f"import sys\ntry:\n    {line}\nexcept SystemExit: pass\nprint(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tunewright" in loaded
    assert not loaded & HEAVY


FAMILIES = sorted(catalog.FAMILIES)
PARTS = [(family, kind) for family in FAMILIES for kind in catalog.kinds(family)]


def test_every_family_has_parts() -> None:
    assert {family for family, _ in PARTS} == set(FAMILIES)


@pytest.mark.parametrize(("family", "kind"), PARTS)
def test_a_part_is_named_after_its_file_and_documented(family: str, kind: str) -> None:
    part = catalog.part_class(family, kind)
    assert part.__name__.lower() == kind.replace("_", "")
    assert part.__module__ == f"tunewright.{family}.{kind}"
    words = (part.__dict__.get("__doc__") or "").split()
    assert len(words) >= 6, f"{family}/{kind} needs a docstring that says what it does"
    for name, field in part.model_fields.items():
        assert field.description, f"{family}/{kind}: option '{name}' needs a description"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_short_plain_and_typed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines: two ideas live here"
    assert text.isascii(), [number for number, line in enumerate(lines, 1) if not line.isascii()]
    assert text.endswith("\n") and not text.endswith("\n\n")
    tree = ast.parse(text)
    if path.name != "__main__.py":
        assert ast.get_docstring(tree), "the module needs a docstring of one to three lines"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            untyped = [
                a.arg
                for a in (*node.args.args, *node.args.kwonlyargs)
                if a.annotation is None and a.arg not in ("self", "cls", "ctx")
            ]
            assert not untyped, f"{node.name}: {untyped} without a type"
            assert node.returns is not None, f"{node.name}: no return type"
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is longer than 60 lines"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert folder_of(path) == "cli", f"print() at line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_what_is_public_says_what_it_means(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"

"""What nothing in the source may do: start a shell, run text as code, read pickles, load code or open YAML freely."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tunewright"
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("eval", "exec", "compile", "__import__", "code.interact"),
    *("pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "joblib.load", "dill.loads", "torch.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("zipfile.ZipFile.extractall", "tarfile.open", "shutil.unpack_archive", "tempfile.mktemp"),
}
# What does one of these all the same, and why that is safe.
ALLOWED = {
    "core/yaml_text.py": ["calls yaml.load"],  # its reader is a SafeLoader
    "core/confined.py": ["calls compile", "calls exec"],  # the program that the sandbox around it is for
}
VARIANTS = ("exec", "system", "popen", "spawn")


def found(source: str) -> Iterator[str]:
    """What a file's text does that it may not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            home = node.module if isinstance(node, ast.ImportFrom) else None
            for name in names:
                if home in ("os", "subprocess", "pickle") and f"{home}.{name}" in FORBIDDEN:
                    yield f"line {node.lineno}: imports {home}.{name}"
                if "pickle" in (home, name):
                    yield f"line {node.lineno}: imports pickle"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in FORBIDDEN or (name.startswith("os.") and name[3:].startswith(VARIANTS)):
            yield f"line {node.lineno}: calls {name}"
        if name == "yaml.load":
            yield f"line {node.lineno}: calls yaml.load"
        for keyword in node.keywords:
            said = ast.unparse(keyword.value)
            if keyword.arg in ("shell", "allow_pickle", "trust_remote_code") and said != "False":
                yield f"line {node.lineno}: says {keyword.arg}={said}"
            if keyword.arg == "use_safetensors" and said != "True":
                yield f"line {node.lineno}: says {keyword.arg}={said}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_dangerous_is_called(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(SOURCE).as_posix(), [])
    wrong = [one for one in found(path.read_text(encoding="utf-8")) if one.partition(": ")[2] not in allowed]
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run('x', shell=True)",
        "subprocess.Popen(a, shell=flag)",
        "os.system('x')",
        "os.execvpe('x', [], {})",
        "from os import system",
        "import pickle",
        "from pickle import loads",
        "eval(text)",
        "torch.load(path)",
        "yaml.load(text)",
        "AutoModel.from_pretrained(x, trust_remote_code=options.code)",
        "np.load(path, allow_pickle=True)",
        "asyncio.create_subprocess_shell('x')",
    ],
)
def test_it_would_be_found(source: str) -> None:
    assert list(found(source))


def test_models_are_opened_without_their_code() -> None:
    calls = [
        f"{path.name}: {ast.unparse(node.func)}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".from_pretrained")
        and ast.unparse(node.func) != "PeftConfig.from_pretrained"  # reads JSON alone
        and "trust_remote_code" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not calls, f"{calls}: say trust_remote_code=False"

"""Makes runs private and plain again: the keys of recipes and of commands, put to privacy/vault.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.core import private, storage
from tunewright.core.errors import NotThere, RunError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Listener, Run
from tunewright.privacy import locking, vault
from tunewright.privacy.vault import Key

LISTENERS: Sequence[Listener] = ()


def begin(recipe: Recipe, run: Run) -> None:
    """Make a new run private where the recipe asks for it, and open one that is. Before anything is written to it.

    Raises NoKey; RunError where the run was begun in plain, or would hold in plain what another run encrypts.
    """
    private.forget()
    wanted = recipe.privacy.vault
    key = None if wanted is None else _key(wanted.key, wanted.passphrase)
    folder = private.home(run.path(private.VAULT))
    if folder is None and key is not None:
        if run.path("recipe.given.yaml").exists() or run.path("data").exists():
            raise RunError(
                f"Run '{run.name}' was begun without privacy.vault, so its files are in plain. Encrypt them with: "
                f"tunewright data lock {run.folder} --key FILE, or start over with --fresh."
            )
        vault.begin(run.folder, key, complete=True)
        return
    private.refuse_leak(_named_paths(recipe), run.folder)
    if folder is None:
        return
    if key is not None and folder.samefile(run.folder):
        vault.use(folder, key)
    vault.opened(folder)
    if not vault.is_complete(folder):
        raise RunError(
            f"Run '{run.name}' is only partly encrypted: a lock or an unlock was interrupted. Finish it first: "
            f"tunewright data lock {folder}, or tunewright data unlock {folder}"
        )


def room(run: Run) -> int:
    """Bytes for what frozen layers compute: of the disk; for a private run of memory, where it is kept then."""
    from tunewright.models import hardware

    free = shutil.disk_usage(run.folder).free
    return min(free, hardware.memory_bytes() // 2) if private.is_private(run.folder) else free


def lock(
    name: str | Path,
    *,
    key: str | None = None,
    passphrase: str | None = None,
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = LISTENERS,
) -> Report:
    """Encrypt a run (or a release that was moved), or change the key of one that is private. Raises NoKey, RunError."""
    folder = _folder(name, runs)
    given = _key(key, passphrase)
    was_private = (folder / private.VAULT).exists()
    if given is None and not was_private:
        raise RunError(
            f"{folder} is not private yet, so a key is needed: --key FILE (make one with: tunewright data key FILE), "
            "or --passphrase FILE."
        )
    with _held(folder) as run:
        begun = time.monotonic()
        num_files = locking.lock(folder, given, told=_teller("lock", listeners, run))
    numbers: dict[str, Any] = {"folder": str(folder), "files": num_files, "key": str(vault.key_of(folder))}
    findings = []
    if num_files:
        message = (
            f"{num_files:,} files were in plain until now. What a disk held before may be read from it until it is "
            "overwritten, and copies made earlier are as they were."
        )
        findings.append(Finding(name="were_plain", severity="info", message=message, count=num_files))
    return Report(stage="lock", run=folder.name, numbers=numbers, findings=findings, seconds=_since(begun))


def unlock(
    name: str | Path,
    *,
    key: str | None = None,
    passphrase: str | None = None,
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = LISTENERS,
) -> Report:
    """Decrypt a private run (or a release that was moved) for good. Raises NoKey, CannotDecrypt, RunError."""
    folder = _folder(name, runs)
    if not (folder / private.VAULT).exists():
        raise RunError(f"{folder} is not private: its files are in plain already.")
    if (given := _key(key, passphrase)) is not None:
        vault.use(folder, given)
    with _held(folder) as run:
        begun = time.monotonic()
        num_files = locking.unlock(folder, told=_teller("unlock", listeners, run))
    numbers: dict[str, Any] = {"folder": str(folder), "files": num_files}
    return Report(stage="unlock", run=folder.name, numbers=numbers, seconds=_since(begun))


def read(name: str | Path, file: str, out: str | Path, *, runs: str | Path = "runs") -> Report:
    """Write a file of a private run in plain, elsewhere. Raises NotThere, NoKey, CannotDecrypt, RunError."""
    folder, out = _folder(name, runs), Path(out)
    path = folder / file
    if not path.is_file():
        raise NotThere(f"There is no file '{file}' in {folder}.")
    if private.is_private(out.parent):
        raise RunError(f"{out} lies in a private folder, where it would be encrypted again. Give a place elsewhere.")
    num_bytes = storage.copy_content(path, out)
    return Report(stage="read", run=folder.name, numbers={"file": str(path), "out": str(out), "bytes": num_bytes})


def new_key(file: str | Path) -> Report:
    """Write a key file. Raises RunError where there is a file of that name."""
    path = Path(file).expanduser()
    public = vault.new_key(path)
    message = "Whoever has this file reads what is locked with it, and without it nobody does: keep a copy elsewhere."
    finding = Finding(name="keep_it", severity="warning", message=message)
    numbers: dict[str, Any] = {"file": str(path), "public": public}
    return Report(stage="key", run=path.name, numbers=numbers, findings=[finding])


def _key(key: str | None, passphrase: str | None) -> Key | None:
    if key is not None and passphrase is not None:
        raise RunError("Give either a key or a passphrase, not both.")
    if key is not None:
        if vault.is_secret(key):
            raise RunError("This is the key itself, which others can see on a command line. Name the file it is in.")
        return Key(key).located
    return None if passphrase is None else Key(passphrase, is_passphrase=True).located


def _folder(name: str | Path, runs: str | Path) -> Path:
    private.forget()
    for folder in (Path(name), Path(runs) / name):
        if any((folder / file).exists() for file in ("run.json", "manifest.json", private.VAULT)):
            above = private.home(folder.absolute())
            if above is not None:
                raise RunError(
                    f"{folder} is a part of the private folder {above}. Lock or unlock that, or copy this part "
                    "elsewhere first."
                )
            return folder.absolute()
    raise NotThere(f"There is no run or release '{name}', neither as a folder nor under {runs}.")


@contextmanager
def _held(folder: Path) -> Iterator[Run | None]:
    """Keep other processes from working on a run meanwhile; its state is the same afterwards."""
    if not (folder / "run.json").exists():
        yield None
        return
    run = Run(folder)
    before = run.facts()
    state = before.get("state")
    try:
        with run.working("lock"):
            yield run
    finally:
        run.update(state="stopped" if state == "running" else state, stage=before.get("stage"))


def _teller(what: str, listeners: Sequence[Listener], run: Run | None) -> Callable[[int, int], None]:
    """Tells listeners only: the file of events is itself among those that change."""

    def told(done: int, total: int) -> None:
        if run is not None:
            run.stop_if_asked()
        for listener in listeners:
            listener({"event": "progress", "stage": what, "done": done, "total": total, "what": f"{what}ing files"})

    return told


def _named_paths(recipe: Recipe) -> dict[str, Path]:
    """The files and folders that a recipe names, by key."""
    found: dict[str, Path] = {}

    def walk(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{key}.{name}" if key else name, inner)
        elif isinstance(value, list):
            for inner in value:
                walk(key, inner)
        elif isinstance(value, str) and value.startswith("/"):
            found[key] = Path(value)

    walk("", {name: value for name, value in recipe.to_dict().items() if name != "privacy"})
    return found


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)

"""Where the files of a base are, and their hash. Loads no torch: a recipe is checked with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunewright.core import storage
from tunewright.core.errors import NotThere

BUNDLED = Path(__file__).parent.parent / "resources"
WEIGHTS = ":weights"  # behind a release's name: its weights alone, without the root before its rows
ROOT = "root"  # beside a base's weights: what stands before all of its rows (models/roots.py)


def base_folder(base: str) -> str:
    """Where a base's files are: the bundled folder for its name, a local folder, or the Hub id unchanged. Raises
    NotThere.
    """
    if "/" not in base and "\\" not in base and (BUNDLED / base / "config.json").exists():
        return str(BUNDLED / base)
    path = Path(base).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise NotThere(f"The folder {path} holds no model: config.json is missing.")
        if not any(path.glob("*.safetensors")):
            raise NotThere(
                f"The folder {path} holds no safetensors weights. Other formats are not opened, for safety; "
                f"convert them first."
            )
        return str(path)
    if base.count("/") == 1 and not base.startswith((".", "/")):
        return base
    bundled = sorted(folder.name for folder in BUNDLED.glob("*/") if (folder / "config.json").exists())
    raise NotThere(
        f"There is no model '{base}'. Name a bundled base ({', '.join(bundled) or 'none'}), a folder, or a Hub "
        f"id like owner/name."
    )


def weights_digest(folder: str, *, sha256: Callable[[Path], str] = storage.sha256) -> str:
    """A hash of a base's files on disk, or of its name for a Hub id: what an adapter was trained on. sha256: of a file,
    for who remembers it.
    """
    path = Path(folder)
    if not path.is_dir():
        return storage.digest(folder)
    files = [*sorted(path.glob("*.safetensors")), *sorted(path.glob(f"{ROOT}/*.safetensors"))]
    return storage.digest({file.relative_to(path).as_posix(): sha256(file) for file in files})

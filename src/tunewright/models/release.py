"""Opens a release: checks its manifest, then its adapter on the base it was trained on, or its merged weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import ModelOptions
from tunewright.models.decode import Decode
from tunewright.models.tunable import TunableModel, base_folder, open_model, weights_digest


@dataclass(frozen=True)
class Opened:
    """A release ready to answer: pass `adapter` with each request ("" where the weights are merged)."""

    model: TunableModel
    adapter: str
    decode: Decode
    manifest: dict[str, Any]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole release. Raises NotThere, or DataError naming the damaged file."""
    if not (folder / "manifest.json").exists():
        raise NotThere(f"There is no release in {folder}. Make one with: tunewright deploy RECIPE")
    if wrong := storage.damage(folder):
        raise DataError(f"The release in {folder} is damaged: {wrong}. Deploy again.")
    return dict(storage.read_json(folder / "manifest.json"))


def open_release(folder: str | Path, *, device: str = "cpu", dtype: str = "float32", base: TunableModel | None = None) -> Opened:
    """Open a release for answering. base: an open base that may be shared, used when the release stands on it."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    decode = Decode.model_validate(manifest["decode"])
    name = f"{manifest['run']}:{folder.name}"
    if (folder / "adapter").exists():
        home = base_folder(manifest["base"])
        if weights_digest(home) != manifest["base_digest"]:
            raise DataError(
                f"Release {name} was trained on another version of base '{manifest['base']}' than the one here. "
                "Bring that base back, or tune again on this one."
            )
        if base is None or base.base != manifest["base"]:
            base = open_model(ModelOptions(base=manifest["base"]), dtype=dtype, device=device)
        if base.chat.digest != manifest["chat_digest"]:
            raise DataError(f"Release {name} was trained with another chat template or tokenizer than base '{manifest['base']}' has now.")
        base.load_adapter(name, folder / "adapter")
        return Opened(base, name, decode, manifest)
    model = open_model(ModelOptions(base=str(folder / "merged")), dtype=dtype, device=device)
    if model.chat.digest != manifest["chat_digest"]:
        raise DataError(f"Release {name}: the chat template in merged/ is not the one it was trained with. Deploy again.")
    return Opened(model, "", decode, manifest)



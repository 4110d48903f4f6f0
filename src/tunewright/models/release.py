"""Opens a release: checks its manifest, then its adapter on the base it was trained on, or its merged weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import ModelOptions
from tunewright.models import roots
from tunewright.models.bases import WEIGHTS, base_folder, weights_digest
from tunewright.models.chat import Chat
from tunewright.models.decode import Decode
from tunewright.models.opening import open_model
from tunewright.models.tunable import TunableModel


@dataclass(frozen=True)
class Opened:
    """A release ready to answer: pass `adapter` with each request ("" where the weights are merged)."""

    model: TunableModel
    adapter: str
    decode: Decode
    manifest: dict[str, Any]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole release. Raises NotThere, or DataError naming the file that is damaged or a link."""
    if not (folder / "manifest.json").exists():
        raise NotThere(f"There is no release in {folder}. Make one with: tunewright deploy {folder.parent.parent}")
    if linked := storage.link_in(folder):
        raise DataError(
            f"In the release in {folder} {linked} is a link (symbolic or hard), so it can be changed from elsewhere. "
            f"Take a copy that has none, as made by: cp -RL {folder} COPY"
        )
    if wrong := storage.damage(folder):
        raise DataError(f"The release in {folder} is damaged: {wrong}. Deploy again.")
    return dict(storage.read_json(folder / "manifest.json"))


@dataclass(frozen=True)
class Checked:
    """A release whose files are whole and whose base is here."""

    folder: Path
    name: str
    decode: Decode
    manifest: dict[str, Any]

    @property
    def has_adapter(self) -> bool:
        """Whether it stands on its base; else it has weights of its own."""
        return (self.folder / "adapter").exists()

    @property
    def base(self) -> str:
        """What to open for it. Raises DataError where it is for another engine alone."""
        if not self.has_adapter and not (self.folder / "merged").exists():
            raise DataError(
                f"Release {self.name} holds GGUF alone, which llama.cpp opens: tunewright serve --engine llama.cpp. Or "
                "deploy it with the format 'adapter' or 'merged', too."
            )
        return str(self.manifest["base"]) if self.has_adapter else str(self.folder / "merged")

    @property
    def options(self) -> ModelOptions:
        """What to open for it, with the new tokens that its adapter has rows for."""
        return ModelOptions(base=self.base, new_tokens=self.manifest.get("new_tokens", ()) if self.has_adapter else ())

    @property
    def dtype(self) -> str:
        """The number format it was evaluated in."""
        return str(self.manifest["dtype"])

    @property
    def can_part(self) -> bool:
        """Whether its weights can answer alone, without the root before its rows."""
        return can_part(self.manifest)

    def put_alone(self, model: TunableModel, name: str) -> None:
        """Let requests of a name be answered by its weights alone: its adapter once more, and no root."""
        if self.has_adapter:
            model.load_adapter(name, self.folder / "adapter")
        roots.leave_out(model.net, name)

    def check_chat(self, chat: Chat) -> None:
        """Raise DataError when the model makes other token ids than the ones trained on."""
        if chat.digest != self.manifest["chat_digest"]:
            what = "base" if self.has_adapter else "folder"
            raise DataError(
                f"Release {self.name} was trained with another chat template or tokenizer than the {what} "
                f"'{self.base}' has now. "
                "Bring that back, or deploy again."
            )


def can_part(manifest: dict[str, Any]) -> bool:
    """Whether a release with this manifest is weights and a root of which the weights can speak alone."""
    return bool(manifest.get("root")) and manifest["decode"]["kind"] in ("generate", "choices")


def check_release(folder: str | Path, *, digest: Callable[[str], str] = weights_digest) -> Checked:
    """Check a release before it is opened. digest: of a base's folder. Raises NotThere, or DataError when a file or the
    base has changed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    checked = Checked(folder, f"{manifest['run']}:{folder.name}", Decode.model_validate(manifest["decode"]), manifest)
    if checked.has_adapter and digest(base_folder(checked.base)) != manifest["base_digest"]:
        raise DataError(
            f"Release {checked.name} was trained on another version of base '{checked.base}' than the one here. "
            "Bring that base back, or tune again on this one."
        )
    return checked


def open_release(folder: str | Path, *, device: str = "cpu", alone: bool = False) -> Opened:
    """Open a release for answering, in the number format it was evaluated in. alone: its weights without the root
    before its rows, answering as a base does.
    """
    checked = check_release(folder)
    if alone and not checked.can_part:
        raise DataError(
            f"Release {checked.name} has no root that its weights could answer without. Leave out '{WEIGHTS}'."
        )
    base = open_model(checked.options, dtype=checked.dtype, device=device)
    checked.check_chat(base.chat)
    if alone:
        checked.put_alone(base, f"{checked.name}{WEIGHTS}")
        return Opened(base, f"{checked.name}{WEIGHTS}", Decode(), checked.manifest)
    return put_beside(checked, base) if checked.has_adapter else Opened(base, "", checked.decode, checked.manifest)


def put_beside(checked: Checked, base: TunableModel) -> Opened:
    """A release whose adapter is put beside its base, which is open. Raises DataError when the base reads otherwise."""
    checked.check_chat(base.chat)
    base.load_adapter(checked.name, checked.folder / "adapter")
    return Opened(base, checked.name, checked.decode, checked.manifest)

"""Aliases as the command line reads and prints them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunewright.core.errors import TunewrightError

if TYPE_CHECKING:
    from tunewright.workspace.tables import Alias


def shares(given: list[str]) -> dict[str, float]:
    """Shares from `MODEL=SHARE`. Raises TunewrightError."""
    found: dict[str, float] = {}
    for one in given:
        model, _, share = one.rpartition("=")
        try:
            found[model] = float(share)
        except ValueError:
            model = ""
        if not model:
            raise TunewrightError(f"Shares are given as MODEL=SHARE, found '{one}'. For example: desk:002=0.05")
    return found


def tell(given: Alias | Sequence[Alias], *, as_json: bool) -> None:
    """Print one state of an alias or several, for a program or for a person."""
    if as_json:
        from tunewright.server.wire.aliases import shown

        print(json.dumps([shown(row) for row in given] if isinstance(given, Sequence) else shown(given), indent=2))
        return
    rows = given if isinstance(given, Sequence) else [given]
    if not rows:
        print("No aliases. Set one: tunewright alias set live desk:001=1")
    for row in rows:
        where = ", ".join(f"{model} {share:.4g}" for model, share in row.shares.items()) or "nothing"
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created))
        told = " ".join(filter(None, (row.action.replace("_", " "), f"by {row.by}" if row.by else "")))
        print(f"{row.name} -> {where}  ({told}, {day})" + (f"  {row.why}" if row.why else ""))

"""Counts what each method trains and writes on the bundled base, as a table: python scripts/method_counts.py"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tunewright.core import catalog
from tunewright.core.recipe import ModelOptions
from tunewright.models.opening import open_model

METHODS: tuple[tuple[str, Any], ...] = (
    ("`full`, `gradual`", "full"),
    ("`{kind: last_layers, head: true}`", {"kind": "last_layers", "head": True}),
    ("`last_layers` (2 layers)", "last_layers"),
    ("`lora` (rank 16, all linear layers), `qlora`", "lora"),
    ("`{kind: lora, start: pissa}`, or `olora`", {"kind": "lora", "start": "pissa"}),
    ("`{kind: lora, dora: true}`", {"kind": "lora", "dora": True}),
    ("`{kind: lora, rank: 8}`", {"kind": "lora", "rank": 8}),
    ("`{kind: lora, targets: [q_proj, v_proj]}`", {"kind": "lora", "targets": ["q_proj", "v_proj"]}),
    ("`{kind: bottleneck, place: houlsby}`", {"kind": "bottleneck", "place": "houlsby"}),
    ("`bottleneck` (`pfeiffer`, 16 wide)", "bottleneck"),
    ("`prefix` (20 tokens)", "prefix"),
    ("`prompt` (20 tokens)", "prompt"),
    ("`ia3`", "ia3"),
    ("`{kind: bitfit, norms: true}`", {"kind": "bitfit", "norms": True}),
    (
        "`{kind: peft, tuner: VERA, options: {r: 16, target_modules: [q_proj, v_proj]}}`",
        {"kind": "peft", "tuner": "VERA", "options": {"r": 16, "target_modules": ["q_proj", "v_proj"]}},
    ),
)


def row(words: str, choice: Any, folder: Path) -> str:
    """One line of the table: the parameters that train, and the bytes of the weights that are saved."""
    net = open_model(ModelOptions(base="nano")).net
    method = catalog.build("methods", choice)
    method.attach(net)
    trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    method.save(net, folder)
    written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return f"| {words} | {trained:,} | {written:,} bytes |"


def main() -> None:
    """Print the table."""
    print("| method | parameters that train | file |\n|---|---|---|")
    for words, choice in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            print(row(words, choice, Path(folder)), flush=True)


if __name__ == "__main__":
    main()

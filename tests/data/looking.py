"""Looks at rows with detectors, without files around them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tunewright.core import catalog
from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions
from tunewright.data.spool import Spool
from tunewright.stages.sorting import sort_out


def look(
    examples: Sequence[Example], *detectors: str | Detector, test: Sequence[Example] = (), **data: object
) -> dict[str, Fault]:
    """The faults of rows by name. detectors: all where none is named. test: rows of a given test file."""
    options = DataOptions.model_validate({"sources": ["a.jsonl"], **data})
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder), options.split, has_test=bool(test)) as spool:
        for example in examples:
            spool.add(example)
        for example in test:
            spool.add(example, given=True)
        spool.close()
        num = {"sources": len(examples)} | ({"test": len(test)} if test else {})
        found = sort_out(spool, num, options, lambda what, done, total: None)
        scene = Scene(
            data=options,
            sides=found.sides,
            labels=list(spool.labels),
            label=spool.column("label"),
            asked=found.asked,
            near=found.pairs,
            given=found.given,
            dropped=found.dropped,
            examples=spool.examples,
        )
        parts = detectors or catalog.kinds("detectors")
        built = [catalog.build("detectors", part) if isinstance(part, str) else part for part in parts]
        watches = [part.watch(scene) for part in built]
        side = {int(number): name for name, numbers in found.sides.items() for number in numbers}
        for number in np.sort(np.concatenate(list(found.sides.values()))).tolist():
            for watch in watches:
                watch.see(Seen(number, side[number], spool[number]))
        return {fault.name: fault for watch in watches for fault in watch.faults()}

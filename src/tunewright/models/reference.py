"""The reference: the model as this phase started, for losses that compare with it. Hangs on `TunableModel.reference`.

Most losses need one number of it for each row, which never changes: these are computed once, before the first step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tunewright.core import private, storage
from tunewright.core.errors import CannotMerge
from tunewright.core.parts import Method
from tunewright.models.forest import Forest, Row

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel

STORED = Path("train", "reference")  # in a run's folder
UNITS = 1000  # laid out together; the rows of this many examples share what they begin with
LATE = 100_000  # values of rows that were not known before training (the model's own answers) that are kept


class Values:
    """A log-prob for each known row, found by a 64-bit hash of its token ids and weights."""

    def __init__(self, keys: np.ndarray, logprobs: np.ndarray) -> None:
        order = np.argsort(keys, kind="stable")
        self.keys, self.logprobs = keys[order], logprobs[order]
        self._late: dict[int, float] = {}

    @classmethod
    def load(cls, folder: Path, key: str | None = None) -> Values | None:
        """What `save` wrote, or None where it is damaged or (with a key given) was made of something else."""
        if storage.damage(folder) is not None or key not in (None, storage.read_json(folder / "manifest.json")["key"]):
            return None
        keys, logprobs = (storage.read_bytes(folder / name) for name in ("keys.bin", "logprobs.bin"))
        return cls(np.frombuffer(keys, "<u8"), np.frombuffer(logprobs, "<f8"))

    @staticmethod
    def format_of(folder: Path) -> str | None:
        """The number format that stored values were computed in; None where there are none."""
        manifest = folder / "manifest.json"
        return str(storage.read_json(manifest)["dtype"]) if manifest.exists() else None

    def save(self, folder: Path, *, key: str, dtype: str) -> None:
        """Write what is known, whole or not at all. key: of all that decides the values; dtype: computed in it."""
        with storage.new_folder(folder, point="reference", about={"key": key, "dtype": dtype}) as fresh:
            for name, values in (("keys.bin", self.keys.astype("<u8")), ("logprobs.bin", self.logprobs.astype("<f8"))):
                with private.open_write(fresh / name) as file:
                    file.write(values.tobytes())

    def of(self, rows: Sequence[Row]) -> list[float | None]:
        """The log-prob of each row (nats); None for those not known."""
        keys = [_key(row) for row in rows]
        places = np.searchsorted(self.keys, np.array(keys, np.uint64))
        return [
            float(self.logprobs[place])
            if place < len(self.keys) and int(self.keys[place]) == key
            else self._late.get(key)
            for key, place in zip(keys, places.tolist(), strict=True)
        ]

    def add(self, row: Row, logprob: float) -> None:
        """Keep a value that was not known before training; the oldest go when there are too many."""
        self._late[_key(row)] = logprob
        if len(self._late) > LATE:
            del self._late[next(iter(self._late))]


class Reference:
    """The model as this phase started.

    That is the model with its method switched off; for methods without such a switch, a frozen copy that `open_base`
    opens when it is needed and that stays.
    """

    def __init__(self, model: TunableModel, method: Method, open_base: Callable[[], TunableModel]) -> None:
        self.model, self.method = model, method
        self.values = Values(np.empty(0, np.uint64), np.empty(0))
        self._open_base = open_base
        self._copy: TunableModel | None = None

    def logprobs(self, forest: Forest) -> torch.Tensor:
        """For each row, the weighted sum of its learned tokens' log-probs, R (nats), without gradient.

        Known values are looked up; rows that are not known are computed and kept for a while.
        """
        found = self.values.of(forest.rows)
        missing = [number for number, value in enumerate(found) if value is None]
        if missing:
            rows = [forest.rows[number] for number in missing]
            with self.frozen() as model:
                computed = _logprobs(model, rows)
            for number, row, value in zip(missing, rows, computed, strict=True):
                found[number] = value
                self.values.add(row, value)
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        return torch.tensor(found, dtype=dtype, device=forest.device)

    @contextmanager
    def frozen(self, *, untouched: bool = False) -> Iterator[TunableModel]:
        """A model that answers as this one did when the phase started: for losses over whole distributions.

        It may be the trained model itself, switched for as long as this holds. Gradients are the caller's to forbid.
        untouched: the model has not been trained yet, so that where there is no switch no copy is needed.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.method.off(self.model.net))
                model = self.model
            except CannotMerge:
                if self._copy is None and not untouched:
                    self._copy = self._open_base()
                    self._copy.net.requires_grad_(False)
                model = self._copy or self.model
            yield model

    def compute(
        self,
        units: Iterable[Sequence[Row]],
        *,
        micro_tokens: int,
        untouched: bool,
        poll: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Compute the values of all these rows in one pass; afterwards they, and no others, are known.

        The rows of a unit meet in one forest, so what they share is computed once. untouched: as in `frozen`. poll:
        told how many units are done; may raise to stop.
        """
        keys: list[int] = []
        logprobs: list[float] = []
        with self.frozen(untouched=untouched) as model:
            units, done = iter(units), 0
            while together := list(islice(units, UNITS)):
                for rows in model.micro_batches(together, micro_tokens):
                    poll(done)
                    keys += map(_key, rows)
                    logprobs += _logprobs(model, rows)
                    done += len({row.example for row in rows})
        self._copy = None  # rows that are not known may never come
        self.values = Values(np.array(keys, np.uint64), np.array(logprobs))


@torch.no_grad()
def _logprobs(model: TunableModel, rows: Sequence[Row]) -> list[float]:
    values: list[float] = model.logprobs(model.forest(rows)).tolist()
    return values


def _key(row: Row) -> int:
    content = hashlib.blake2b(np.asarray(row.items, np.int64).data, digest_size=8)
    content.update(np.asarray(row.weights, np.float64).data)
    return int.from_bytes(content.digest(), "little")

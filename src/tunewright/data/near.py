"""Near twins: rows whose texts are nearly the same, found by MinHash and banding, then verified one by one.

The distance is the Jaccard similarity of the sets of 5-character runs of what a row asks, after normalising. Candidates
come from MinHash signatures (Broder 1997) cut into bands (Leskovec et al., Mining of Massive Datasets, section 3.4):
with 25 bands of 5 a pair at 0.8 is missed once in 20,000 times. System messages, and a template around all texts (runs
that nearly all of the first rows share), say nothing about how near two rows are and are left out. Texts with different
numbers in them ask different things and are no near twins.

Whether a pair is found depends on its two rows and on those before them only, so that rows added later change nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunewright.core import private
from tunewright.core.example import Example
from tunewright.data.clean import normalise, seen

SIMILARITY = 0.8
RUN = 5  # characters
BANDS, ROWS = 25, 5  # of a signature
SEED = 1
_CROWD = 32  # a row with so many before it in its bucket is compared with some of them only:
_SOME = 8  # with the first and with the last so many
_AT_ONCE = 20_000  # pairs verified together
_LONGEST = 20_000  # characters of a text that count
_COMMON_ROWS = 50  # the first rows, which tell whether there is a template
_COMMON_SHARE = 0.95  # of them have its runs
_COMMON_RUNS = 20  # fewer make no template
_NOT_WORD = re.compile(r"[^\w\s]")
_NUMBER = re.compile(r"\d+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, from the golden ratio (Knuth, TAOCP 3, section 6.4)


@dataclass(frozen=True)
class Pairs:
    """Verified pairs of rows: first[i] < second[i], and how near they are."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


def text_of(example: Example) -> str:
    """What is compared: all that is asked but for system messages; of a plain document, the document."""
    if example.text is not None:
        said = [example.text]
    else:
        said = [seen(message) for message in example.asked if message.role not in ("system", "developer")]
    text = normalise("\n".join(said)[: 2 * _LONGEST])
    return (_NOT_WORD.sub("", text) or text)[:_LONGEST]


class Signatures:
    """The bands of each row, in a file: 200 bytes a row on the disk."""

    def __init__(self, folder: Path) -> None:
        self._file = private.open_scratch(folder / "bands.bin")
        self._common: np.ndarray | None = None  # runs that are left out; known after the first block

    def add(self, texts: list[str]) -> None:
        """Append a block of rows. The first one tells which runs are common."""
        if not texts:
            return
        if self._common is None:
            self._common = _common(*_runs(texts[:_COMMON_ROWS]))
        runs, begins = self.runs(texts)
        import rensa

        matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(runs, begins, BANDS * ROWS, SEED)
        digests = np.array(matrix.to_rows(), np.uint64).reshape(len(texts), BANDS, ROWS)
        numbers = np.array([zlib.crc32(" ".join(_NUMBER.findall(text)).encode()) for text in texts], np.uint64)
        keys = np.repeat(numbers[:, None], BANDS, axis=1)
        for place in range(ROWS):
            keys = (keys ^ digests[:, :, place]) * _MULTIPLIER
            keys ^= keys >> np.uint64(29)
        self._file.write(keys.tobytes())

    def runs(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of the distinct runs of each text, text behind text, and where each begins (one more at the end)."""
        runs, begins = _runs(texts)
        if self._common is None or not len(self._common):
            return runs, begins
        keep = ~np.isin(runs, self._common)
        kept = np.add.reduceat(keep, begins[:-1]) > 0
        keep |= ~np.repeat(kept, np.diff(begins))  # a row of nothing but the template is told by the template
        lengths = np.add.reduceat(keep.astype(np.int64), begins[:-1])
        return runs[keep], np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])

    def band(self, number: int, num_rows: int) -> np.ndarray:
        """One band of all rows."""
        self._file.flush()
        if private.is_encrypted(self._file):  # cannot be mapped
            size = BANDS * 8
            starts = range(0, num_rows, _AT_ONCE)
            blocks = (private.read_at(self._file, start * size, _AT_ONCE * size) for start in starts)
            bands = [np.frombuffer(block, np.uint64).reshape(-1, BANDS)[:, number] for block in blocks]
            return np.concatenate([np.empty(0, np.uint64), *bands])[:num_rows]
        every = (
            np.memmap(self._file.name, np.uint64, "r", shape=(num_rows, BANDS)) if num_rows else np.empty((0, BANDS))
        )
        return np.array(every[:, number])

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def pairs(
    signatures: Signatures,
    rows: np.ndarray,
    num_rows: int,
    examples: Callable[[np.ndarray], Iterator[Example]],
    poll: Callable[[int, int], None] = lambda done, total: None,
) -> Pairs:
    """The pairs among `rows` (ascending numbers) that are at least SIMILARITY near.

    num_rows: of the signatures. examples: reads rows in ascending order. poll: called with how many candidates were
    verified, of how many.
    """
    found = [np.empty((0, 2), np.int64)]
    for number in range(BANDS):
        found.append(np.unique(_candidates(signatures.band(number, num_rows)[rows]), axis=0))
        if len(found) > 4:
            found = [np.unique(np.concatenate(found), axis=0)]
    candidates = rows[np.unique(np.concatenate(found), axis=0)]
    near = np.zeros(len(candidates))
    for start in range(0, len(candidates), _AT_ONCE):
        poll(start, len(candidates))
        near[start : start + _AT_ONCE] = _similarity(candidates[start : start + _AT_ONCE], signatures, examples)
    kept = near >= SIMILARITY
    return Pairs(candidates[kept, 0], candidates[kept, 1], near[kept])


def _candidates(band: np.ndarray) -> np.ndarray:
    """Pairs of places whose bands are equal."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    fresh = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else np.empty(0, int)
    sizes = np.diff(np.append(fresh, len(order)))
    place = np.arange(len(order)) - np.repeat(fresh, sizes)  # of a row in its bucket
    crowded = place >= _CROWD
    found = [np.empty((0, 2), np.int64)]
    for back in range(1, int(min(sizes.max(initial=1), _CROWD + 1))):
        second = np.flatnonzero((place >= back) & ~(crowded & (back > _SOME)))
        if not len(second):
            break
        found.append(np.stack([order[second - back], order[second]], axis=1))
    begin = np.repeat(fresh, sizes)
    for ahead in range(_SOME):
        second = np.flatnonzero(crowded)
        found.append(np.stack([order[begin[second] + ahead], order[second]], axis=1))
    return np.concatenate(found)


def _similarity(
    candidates: np.ndarray, signatures: Signatures, examples: Callable[[np.ndarray], Iterator[Example]]
) -> np.ndarray:
    """Jaccard similarity of each pair, exactly."""
    rows = np.unique(candidates)
    runs, begins = signatures.runs([text_of(example) for example in examples(rows)])
    sizes = np.diff(begins)
    at = np.searchsorted(rows, candidates)
    shared = np.array([
        len(np.intersect1d(runs[begins[a] : begins[a + 1]], runs[begins[b] : begins[b + 1]], assume_unique=True))
        for a, b in at.tolist()
    ])  # fmt: skip
    return shared / (sizes[at[:, 0]] + sizes[at[:, 1]] - shared)


def _runs(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the distinct runs of each text, and where each text's begin. A short text is a run by itself."""
    padded = [text if len(text) >= RUN else text.ljust(RUN, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded], np.int64)
    hashes = np.zeros(max(0, len(codes) - RUN + 1), np.uint64)
    for place in range(RUN):
        hashes = (hashes ^ codes[place : len(codes) - RUN + 1 + place]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(31)
    row = np.repeat(np.arange(len(texts)), lengths)
    last = np.repeat(np.cumsum(lengths), lengths)
    inside = np.arange(len(hashes)) + RUN <= last[: len(hashes)]
    hashes, row = hashes[inside], row[: len(inside)][inside]
    order = np.lexsort((hashes, row))
    hashes, row = hashes[order], row[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (row[1:] != row[:-1])
    hashes, row = hashes[first], row[first]
    return hashes, np.searchsorted(row, np.arange(len(texts) + 1))


def _common(runs: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The runs that nearly all rows have; none where they are few, or too few rows to tell."""
    if len(begins) - 1 < _COMMON_ROWS:
        return np.empty(0, np.uint64)
    distinct, counts = np.unique(runs, return_counts=True)
    common = distinct[counts >= _COMMON_SHARE * (len(begins) - 1)]
    return common if len(common) >= _COMMON_RUNS else np.empty(0, np.uint64)

"""Texts as sparse vectors of length 1: hashed words, pairs of words and runs of letters, weighted by TF-IDF.

Weights are (1 + ln tf) * (ln((1 + n) / (1 + df)) + 1) (Salton & Buckley 1988); words and letters get half of the length
each. All is done on one array of characters, so that a row of 60 characters takes about 20 microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_matrix

RUN = 4  # letters
SIZE = 2**16  # of each half
CHARACTERS = 6_000_000  # of all texts together: longer ones lose their ends
SHORTEST = 300  # characters that a text keeps in any case
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, from the golden ratio (Knuth, TAOCP 3, section 6.4)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)  # of splitmix64 (Steele et al. 2014)


def tfidf(texts: Sequence[str], size: int = SIZE) -> csr_matrix:
    """One row of features a text, in float32. Features of a single text are left out: they compare nothing."""
    from scipy import sparse

    most = max(SHORTEST, CHARACTERS // max(1, len(texts)))
    folded = [" ".join(text[:most].casefold().split()) for text in texts]
    codes = np.frombuffer("\n".join(["", *folded, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    row = np.cumsum(codes == 10) - 1
    word_keys, word_rows = _words(codes, row)
    run_keys, run_rows = _runs(codes, row)
    halves = [
        _weighted(word_keys, word_rows, len(texts), size),
        _weighted(run_keys, run_rows, len(texts), size),
    ]
    joined: csr_matrix = sparse.hstack(halves, format="csr", dtype=np.float32)
    joined.data *= np.float32(np.sqrt(0.5))
    return joined


def _mixed(keys: np.ndarray) -> np.ndarray:
    keys = (keys ^ (keys >> np.uint64(30))) * _SPREAD
    return keys ^ (keys >> np.uint64(31))


def _words(codes: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of words and of pairs of neighbours, and the row of each."""
    known, at = np.unique(codes, return_inverse=True)
    inside = np.array([chr(code).isalnum() if code < 0xD800 or code > 0xDFFF else False for code in known.tolist()])[at]
    begins = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
    ends = np.flatnonzero(inside[:-1] & ~inside[1:]) + 1
    if not len(begins):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    word = np.repeat(np.arange(len(begins)), ends - begins)
    characters = np.flatnonzero(inside)
    place = (characters - begins[word] + 1).astype(np.uint64)
    signs = _mixed(codes[characters].astype(np.uint64) * _MULTIPLIER + place * _SPREAD)
    hashes = _mixed(np.add.reduceat(signs, np.concatenate([[0], np.cumsum(ends - begins)[:-1]])))
    of_row = row[begins]
    pair = of_row[1:] == of_row[:-1]
    pairs = _mixed(hashes[:-1] * _MULTIPLIER + hashes[1:])[pair]
    return np.concatenate([hashes, pairs]), np.concatenate([of_row, of_row[1:][pair]])


def _runs(codes: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the runs of RUN characters that lie within a row, line ends counted as its edges."""
    count = len(codes) - RUN + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    hashes = np.zeros(count, np.uint64)
    for place in range(RUN):
        hashes = (hashes ^ codes[place : count + place]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(31)
    edge = np.cumsum(codes == 10)
    whole = edge[RUN - 2 : count + RUN - 2] == edge[:count]  # no edge but at either end
    return hashes[whole], row[:count][whole]


def _weighted(keys: np.ndarray, rows: np.ndarray, num_rows: int, size: int) -> csr_matrix:
    from scipy import sparse

    column = (keys >> np.uint64(20)) % np.uint64(size)
    pairs, counts = np.unique(rows.astype(np.int64) * size + column.astype(np.int64), return_counts=True)
    at_row, at_column = pairs // size, pairs % size
    df = np.bincount(at_column, minlength=size)
    several = df[at_column] > 1
    at_row, at_column, counts = at_row[several], at_column[several], counts[several]
    used, at_column = np.unique(at_column, return_inverse=True)
    values = (1 + np.log(counts)) * (np.log((1 + num_rows) / (1 + df[used]))[at_column] + 1)
    lengths = np.sqrt(np.bincount(at_row, values**2, minlength=num_rows))
    begins = np.searchsorted(at_row, np.arange(num_rows + 1))
    return sparse.csr_matrix(
        ((values / lengths[at_row]).astype(np.float32), at_column.astype(np.int32), begins.astype(np.int32)),
        shape=(num_rows, len(used)),
    )

"""semantic_twins: rows that mean the same in other words, by the vectors of an encoder that the recipe names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.errors import NotThere
from tunewright.data import showing
from tunewright.data.clean import prompt_text

_BATCH, _BLOCK = 64, 1_024
_SIDES = {"train": 0, "validation": 1, "test": 2}


class SemanticTwins(Detector):
    """Compares each row's prompt with all others (exact, in blocks): cosine of mean-pooled vectors. Off without an
    encoder. Twins that are near in writing too are told by `near_twins`.
    """

    fixes: ClassVar[tuple[str, ...]] = ("semantic_twins", "semantic_twins_across")
    paths: ClassVar[tuple[str, ...]] = ("encoder",)

    encoder: str | None = Field(None, description="folder or Hub id of a text encoder; none: no such search")
    similarity: float = Field(0.95, gt=0, le=1, description="cosine from which on rows are twins")
    limit: int = Field(20_000, ge=2, description="rows compared at most, evenly spread: time grows with the square")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look. Raises NotThere when the encoder cannot be opened."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, detector: SemanticTwins, scene: Scene) -> None:
        self.detector, self.scene = detector, scene
        self.every = max(1, -(-scene.num_rows // detector.limit))
        self.seen = 0
        self.numbers: list[int] = []
        self.sides: list[int] = []
        self.waiting: list[str] = []
        self.blocks: list[np.ndarray] = []
        self.encode = _encoder(detector.encoder) if detector.encoder else None

    def see(self, row: Seen) -> None:
        """Keep the row's vector, if it is in the sample."""
        if self.encode is None:
            return
        self.seen += 1
        if (self.seen - 1) % self.every:
            return
        self.numbers.append(row.number)
        self.sides.append(_SIDES[row.side])
        self.waiting.append(prompt_text(row.example))
        if len(self.waiting) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        assert self.encode is not None
        if self.waiting:
            self.blocks.append(self.encode(self.waiting))
            self.waiting = []

    def faults(self) -> Iterable[Fault]:
        """Twins among the rows to learn from, and between these and rows that measure."""
        if self.encode is None:
            return
        self._flush()
        if len(self.numbers) < 2:
            return
        vectors = np.concatenate(self.blocks)
        numbers, sides = np.array(self.numbers, np.int64), np.array(self.sides, np.int8)
        self.scene.notes["embeddings"] = _coverage(vectors)
        first, second, cosine = self._pairs(vectors)
        same = self.scene.asked[numbers[first]] == self.scene.asked[numbers[second]]  # told elsewhere
        first, second, cosine = first[~same], second[~same], cosine[~same]
        inside = (sides[first] == 0) & (sides[second] == 0)
        looked = f" of {len(numbers):,} rows looked at" if self.every > 1 else ""
        given = {_SIDES[name] for name in self.scene.given}
        for name, which, what in (
            ("semantic_twins", inside, "mean the same as an earlier row to learn from"),
            ("semantic_twins_across", (sides[first] != sides[second]), "mean the same as a row on another side"),
        ):
            if not which.any():
                continue
            at = int(np.flatnonzero(which)[np.argmax(cosine[which])])
            if name == "semantic_twins":
                rows = np.unique(numbers[second[which]])
                drop = rows
            else:
                ends = np.concatenate([first[which], second[which]])
                learned = ends[sides[ends] == 0]
                rows = drop = np.unique(numbers[learned])
                if not len(rows):
                    continue
            yield Fault(
                name=name,
                severity="warning" if name.endswith("across") else "info",
                message=f"{len(rows):,}{looked} {what} (cosine at least {self.detector.similarity:g}).",
                rows=rows,
                example=showing.rows(*self.scene.examples(np.sort(numbers[[first[at], second[at]]])))
                + f" (cosine {cosine[at]:.3f})",
                remedy="Leave them out where they add nothing, or flatter the measure.",
                fix="leave them out of training",
                drop=() if 0 in given else drop,
            )

    def _pairs(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs at or above the similarity: places of the earlier and the later row, and their cosine."""
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for start in range(0, len(vectors), _BLOCK):
            self.scene.poll("comparing meanings", start, len(vectors))
            cosine = vectors[start : start + _BLOCK] @ vectors[start:].T
            left, right = np.nonzero(np.triu(cosine >= self.detector.similarity, 1))
            found.append((left + start, right + start, cosine[left, right]))
        first, second, cosine = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return first, second, cosine


def _coverage(vectors: np.ndarray) -> dict[str, float | int]:
    """How spread the rows are: the mean cosine of two, and directions that carry their variance (participation ratio
    of the covariance's eigenvalues).
    """
    mean = vectors.mean(axis=0)
    count = len(vectors)
    alike = (count * float(mean @ mean) - 1) / (count - 1)
    values = np.linalg.eigvalsh(np.cov(vectors[:: max(1, count // 5_000)].T.astype(np.float64)))
    directions = float(values.sum() ** 2 / max(float((values**2).sum()), 1e-12))
    return {"rows_looked_at": count, "mean_cosine": round(alike, 4), "effective_directions": round(directions, 1)}


def _encoder(name: str) -> Callable[[list[str]], np.ndarray]:
    """A function from texts to vectors of length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise NotThere(
            f"data.checks: the encoder '{name}' cannot be opened ({str(error).splitlines()[0]}). "
            "Name a folder or a Hub id of a text encoder."
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = min(512, int(getattr(model.config, "max_position_embeddings", 512)))

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=longest)
        inputs.pop("token_type_ids", None)
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        vectors: np.ndarray = torch.nn.functional.normalize(pooled.float(), dim=-1).numpy()
        return vectors

    return encode

"""One LoRA adapter from several over the same base: their weighted average, their weighted sum, or TIES.

What an adapter adds to a layer is D = scale * B A. Matrices put beside each other, [B1 B2] [A1; A2], add exactly what
the two add together, so sums need no approximation. Shape letters: I inputs, O outputs, R ranks, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from tunewright.core import private, storage
from tunewright.core.errors import DataError, NotThere, RunError
from tunewright.core.report import Finding, Report
from tunewright.models import adapter_files, new_rows
from tunewright.models.bases import base_folder, weights_digest
from tunewright.models.lora_files import Matrices, read_adapter

How = Literal["average", "task_arithmetic", "ties", "stack"]
HOWS = get_args(How)
DENSITY = 0.2  # Yadav et al. keep the top fifth


@dataclass(frozen=True)
class Source:
    """One adapter that goes in, and the weight it goes in with."""

    folder: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Source:
        """FOLDER or FOLDER:WEIGHT. A release's folder stands for the adapter in it. Raises NotThere."""
        path, _, weight = text.rpartition(":")
        try:
            number = float(weight) if path else 1.0
        except ValueError:
            path, number = text, 1.0
        folder = Path(path or text)
        folder = folder / "adapter" if (folder / "adapter" / "adapter_config.json").exists() else folder
        if not (folder / "adapter_config.json").exists():
            raise NotThere(f"{folder} holds no adapter: give the folder of an adapter or of a release, then :WEIGHT.")
        return cls(folder, number)


@dataclass(frozen=True)
class _Read:
    source: Source
    base: str
    digest: str | None
    layers: dict[str, Matrices]


def compose(
    out: str | Path,
    sources: Sequence[str | Source],
    *,
    how: How = "task_arithmetic",
    rank: int | None = None,
    density: float = DENSITY,
) -> Report:
    """Write an adapter in PEFT's layout into a folder that is not there yet.

    average: weights brought to a sum of 1 (Wortsman et al. 2022, arXiv 2203.05482). task_arithmetic: the weighted sum
    (Ilharco et al. 2022, arXiv 2212.04089); a negative weight takes away. stack: the same sum with matrices side by
    side, as they are. ties: keep the `density` largest entries of each, elect a sign for each entry, average those that
    agree (Yadav et al. 2023, arXiv 2306.01708, algorithm 1). rank: of the result; left out, what sums need to be exact,
    and for ties all ranks together. Raises DataError for adapters of different bases or methods.
    """
    target = Path(out)
    given = [source if isinstance(source, Source) else Source.parse(source) for source in sources]
    _check(target, given, how, rank, density)
    private.refuse_leak({f"source {number}": source.folder for number, source in enumerate(given, 1)}, target)
    read = [_read(source) for source in given]
    _refuse_strangers(read)
    total = sum(source.weight for source in given)
    if how == "average" and total <= 0:
        raise DataError(f"An average needs weights with a sum above 0, found {total:g}. Use task_arithmetic.")
    weights = [source.weight / total if how == "average" else source.weight for source in given]
    paths = sorted({path for one in read for path in one.layers})
    layers, lost = {}, {}
    for path in paths:
        parts = [(one.layers[path], w) for one, w in zip(read, weights, strict=True) if path in one.layers]
        if len({(m.b.shape[0], m.a.shape[1]) for m, _ in parts}) > 1:
            raise DataError(f"The adapters differ in the shape of layer {path}, so they are not for the same base.")
        layers[path], lost[path] = _composed(parts, how, rank, density)
    about = {"how": how, "from": [{"folder": str(s.folder), "weight": s.weight} for s in given]}
    _write(target, layers, read[0], about | {"base_digest": read[0].digest})
    return _report(target, given, weights, how, density, layers, max(lost.values()))


def _check(target: Path, given: list[Source], how: str, rank: int | None, density: float) -> None:
    if how not in HOWS:
        raise DataError(f"There is no way '{how}' to compose adapters. Choose from: {', '.join(HOWS)}.")
    if not given:
        raise DataError("Nothing to compose. Name adapters: --from FOLDER:WEIGHT, once for each.")
    if how == "stack" and rank is not None:
        raise DataError("'stack' keeps every rank as it is. Leave out rank, or use task_arithmetic.")
    if not 0 < density <= 1:
        raise DataError(f"density is a share above 0 and at most 1, found {density:g}.")
    if target.exists():
        raise RunError(f"{target} is there already. Name another folder, or put it aside first.")


def _read(source: Source) -> _Read:
    config = adapter_files.read_config(source.folder)
    kind = config.get("peft_type") or config.get("tunewright_type")
    if kind != "LORA" or config.get("use_dora"):
        raise DataError(
            f"The adapter in {source.folder} is a {'DoRA' if kind == 'LORA' else kind} one; only plain LoRA adapters "
            "add up, so only they can be composed."
        )
    if new_rows.read_ids(source.folder):
        raise DataError(
            f"The adapter in {source.folder} has rows of new tokens, which do not add up with another's. Go on from it "
            "with model.from instead."
        )
    base = str(config.get("base_model_name_or_path") or "")
    manifests = [place / "manifest.json" for place in (source.folder, source.folder.parent)]
    told = [storage.read_json(manifest).get("base_digest") for manifest in manifests if manifest.exists()]
    digest = next((found for found in told if found), None)
    try:
        if digest is None and Path(folder := base_folder(base)).is_dir():
            digest = weights_digest(folder)
    except NotThere:
        pass  # a base of another machine: its name is all there is to go by
    return _Read(source, base, digest, read_adapter(source.folder))


def _refuse_strangers(read: list[_Read]) -> None:
    first = read[0]
    for other in read[1:]:
        known = first.digest is not None and other.digest is not None
        if (first.digest != other.digest) if known else (first.base != other.base):
            raise DataError(
                f"The adapter in {first.source.folder} is for '{first.base}', the one in {other.source.folder} for "
                f"'{other.base}'{', with other weights' if first.base == other.base else ''}. "
                "Only adapters of one base can be composed."
            )


def _composed(
    parts: list[tuple[Matrices, float]], how: str, rank: int | None, density: float
) -> tuple[Matrices, float]:
    """One layer, and the share of it (Frobenius norm) that its rank could not hold."""
    if how == "ties":
        return _factored(_ties(parts, density), rank or sum(len(m.a) for m, _ in parts))
    a_RI = torch.cat([m.a for m, _ in parts])
    b_OR = torch.cat([m.b * (m.scale * weight) for m, weight in parts], 1)
    if how == "stack":
        return Matrices(a_RI, b_OR, 1.0), 0.0
    return _narrowed(a_RI, b_OR, rank)


def _narrowed(a_RI: torch.Tensor, b_OR: torch.Tensor, rank: int | None) -> tuple[Matrices, float]:
    """B A at the rank it has (or a lower one), through the small core of both: B = Q T, A' = P S, B A = Q (T S') P'."""
    q_OK, t_KR = torch.linalg.qr(b_OR.double())
    p_IK, s_KR = torch.linalg.qr(a_RI.double().t())
    core, lost = _factored(t_KR @ s_KR.t(), rank or min(t_KR.shape[0], s_KR.shape[0]))
    return Matrices((core.a.double() @ p_IK.t()).float(), (q_OK @ core.b.double()).float(), 1.0), lost


def _factored(delta_OI: torch.Tensor, rank: int) -> tuple[Matrices, float]:
    """The nearest B A of this rank (Eckart & Young 1936), without the ranks that hold nothing; at least one."""
    u, s, v = torch.linalg.svd(delta_OI.double(), full_matrices=False)
    needed = int((s > s[0] * max(delta_OI.shape) * 1e-9).sum())
    kept = max(1, min(rank, needed))
    lost = float(s[kept:].norm() / s.norm().clamp_min(1e-300))
    root = s[:kept].sqrt()
    return Matrices((root[:, None] * v[:kept]).float(), (u[:, :kept] * root).float(), 1.0), lost


def _ties(parts: list[tuple[Matrices, float]], density: float) -> torch.Tensor:
    """Trim, elect the sign of the larger sum, average what agrees with it; each weighted after its sign is elected."""
    trimmed = torch.stack([_trimmed(m.scale * (m.b.double() @ m.a.double()), density) for m, _ in parts])
    elected = torch.where(trimmed.sum(0) >= 0, 1.0, -1.0)
    agrees = torch.sign(trimmed) == elected
    weights = torch.tensor([weight for _, weight in parts], dtype=trimmed.dtype)[:, None, None]
    return (trimmed * weights * agrees).sum(0) / agrees.sum(0).clamp_min(1)


def _trimmed(delta: torch.Tensor, density: float) -> torch.Tensor:
    """The largest entries, that many of them; 0 elsewhere."""
    kept = torch.zeros(delta.numel(), dtype=delta.dtype)
    index = delta.abs().flatten().topk(max(1, int(density * delta.numel()))).indices
    kept[index] = delta.flatten()[index]
    return kept.view(delta.shape)


def _write(target: Path, layers: dict[str, Matrices], like: _Read, about: dict[str, Any]) -> None:
    """Every layer at the widest rank, so that one number says it; rows of zeros add nothing."""
    rank = max(len(m.a) for m in layers.values())
    tensors = {}
    for path, m in layers.items():
        more = rank - len(m.a)
        tensors[f"{adapter_files.PREFIX}{path}.lora_A.weight"] = torch.nn.functional.pad(m.a, (0, 0, 0, more))
        tensors[f"{adapter_files.PREFIX}{path}.lora_B.weight"] = torch.nn.functional.pad(m.b, (0, more))
    given = adapter_files.read_config(like.source.folder)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": given.get("task_type") or "CAUSAL_LM",
        "base_model_name_or_path": like.base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "use_rslora": False,
        "target_modules": sorted(layers),
        "fan_in_fan_out": bool(given.get("fan_in_fan_out")),
        "bias": "none",
    }
    with storage.new_folder(target, point="compose", about=about) as folder:
        adapter_files.write(folder, config, tensors)


def _report(
    target: Path,
    given: list[Source],
    weights: list[float],
    how: str,
    density: float,
    layers: dict[str, Matrices],
    lost: float,
) -> Report:
    findings = []
    if lost > 1e-6:
        message = (
            f"At this rank up to {lost:.1%} of a layer's change is lost (Frobenius norm). Raise rank to keep more."
        )
        findings.append(Finding(name="rank", severity="warning" if lost > 0.1 else "info", message=message))
    numbers: dict[str, Any] = {
        "folder": str(target),
        "how": how,
        "sources": {str(source.folder): weight for source, weight in zip(given, weights, strict=True)},
        "layers": len(layers),
        "rank": max(len(m.a) for m in layers.values()),
        "lost": lost,
    }
    if how == "ties":
        numbers["density"] = density
    return Report(stage="compose", run=target.name, numbers=numbers, findings=findings)

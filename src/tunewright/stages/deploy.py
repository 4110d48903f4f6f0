"""Deploy: a release folder that can be served, moved and checked; refused when the verdict is not a GO."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import NotThere, ProofBroken, Refused
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.core.run import Run
from tunewright.privacy import vault
from tunewright.stages import model_card, quarantined, tuned

if TYPE_CHECKING:
    from tunewright.core.parts import Exporter
    from tunewright.models.tunable import TunableModel

PROBE_ROWS = 16
PACKAGES = ("tunewright", "torch", "transformers", "peft", "tokenizers", "safetensors")


def deploy(recipe: Recipe, run: Run, *, override: str | None = None) -> Report:
    """Write releases/NNN/. Raises Refused without a GO, unless `override` gives a reason, which is recorded."""
    judged = run.report("evaluate")
    if judged is None:
        raise NotThere(f"Run '{run.name}' has not been evaluated. Do that first: tunewright evaluate {run.folder}")
    if judged.exit_code and not override:
        raise Refused(
            f"Not released: the verdict is {judged.verdict}. {judged.reason} "
            f'To release all the same, give a reason: tunewright deploy {run.folder} --override "..."',
            exit_code=judged.exit_code,
        )
    from tunewright.models.bases import base_folder
    from tunewright.models.estimate import licence

    model = tuned.open_tuned(recipe, run)
    method = tuned.final(recipe, run)[0].the_method()
    number = 1 + max((int(folder.name) for folder in run.releases()), default=0)
    target = run.path("releases", f"{number:03d}")
    exporters = sorted(recipe.the_exporters(), key=lambda exporter: exporter.merges)
    about = origin(recipe, run, judged, model) | {
        "release": number,
        "formats": [exporter.kind for exporter in exporters],
        "override": override if judged.exit_code else None,
    }
    proofs: list[ProofResult] = []
    with storage.new_folder(target, point="release", about=about) as folder:
        for exporter in exporters:
            run.stop_if_asked()
            run.log(
                "progress", stage="deploy", done=exporters.index(exporter), total=len(exporters), what=exporter.kind
            )
            exporter.export(method, model, folder / exporter.kind)
            if exporter.proves:
                proof = exporter.prove(model, folder / exporter.kind, _probes(recipe, run, model))
                proofs += [_unbroken(proof, exporter)] if proof is not None else []
        text = model_card.card(recipe, run, judged, about, license=licence(Path(base_folder(about["base"]))))
        storage.write_text(folder / "README.md", text, point="release.card")
        storage.write_text(
            folder / "recipe.yaml", run.path("recipe.yaml").read_text(encoding="utf-8"), point="release.recipe"
        )
        vault.hand_on(run.folder, folder)
    findings = quarantined.findings(run)
    if about["override"]:
        findings.append(
            Finding(
                name="override",
                severity="warning",
                message=f"Released although the verdict is {judged.verdict}: {override}",
            )
        )
    numbers = {
        "release": f"{number:03d}",
        "folder": str(target),
        "formats": {exporter.kind: _bytes(target / exporter.kind) for exporter in exporters},
        "override": about["override"],
    }
    after = f"tunewright {_use(about)} {run.folder}"
    return Report(stage="deploy", run=run.name, numbers=numbers, findings=findings, proofs=proofs, next=after)


def _probes(recipe: Recipe, run: Run, model: TunableModel) -> list[list[int]]:
    """Token ids after which formats are compared: questions of the run's rows, and each with half of its answer."""
    from tunewright.models import decode as decoding

    decode = tuned.decode_of(recipe, run)
    rows = next((rows for rows in (run.split("test"), run.split("validation"), run.split("train")) if rows), [])
    probes = []
    for example in itertools.islice(rows, PROBE_ROWS):
        if not example.prompt:  # a document: nothing is asked
            continue
        asked = [message.for_template() for message in example.prompt]
        prompt = decoding.prompt_ids(model.chat, decode, asked, example.tools)
        probes.append(prompt)
        if example.answer is not None:
            answer = model.chat.answer_ids(example.answer)
            probes.append(prompt + answer[: (len(answer) + 1) // 2])
    return [probe for probe in probes if len(probe) < model.longest()]


def _unbroken(proof: ProofResult, exporter: Exporter) -> ProofResult:
    if proof.holds:
        return proof
    raise ProofBroken(
        f"Not released: {proof.claim}: {proof.measured}, bound {proof.bound}. "
        f"Give the format '{exporter.kind}' more bits, or leave it out of deploy.formats."
    )


def origin(recipe: Recipe, run: Run, judged: Report, model: TunableModel) -> dict[str, Any]:
    """What a manifest says beside the files: where it comes from, how it answers, how well it does."""
    from tunewright.models import roots
    from tunewright.models.bases import base_folder, weights_digest
    from tunewright.models.decode import Escalation

    root = roots.fixed(model.net)
    learned, home = tuned.final(recipe, run)
    start, method = tuned.start_options(learned, home), learned.the_method()
    decode = tuned.decode_of(recipe, run).model_copy(update={"stop_ids": model.chat.stop_ids})
    sure = judged.numbers.get("escalation") if decode.labels and not decode.multi else None
    if sure:
        decode = decode.model_copy(update={"escalation": Escalation(threshold=sure["threshold"], at=sure["at"])})
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "run": run.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": judged.verdict,
        "reason": judged.reason,
        "base": start.base,
        "new_tokens": list(start.new_tokens),
        "base_digest": weights_digest(base_folder(start.base)),
        "chat_digest": model.chat.digest,
        "dtype": str(model.dtype).removeprefix("torch."),
        "root": None if root is None else root.size,  # tokens before every row, which an earlier training learned
        "method": {"kind": method.kind, **method.model_dump(mode="json")},
        "decode": decode.model_dump(mode="json"),
        "recipe_digest": storage.sha256(run.path("recipe.yaml")),
        "scores": judged.contestants.get("tuned", {}),
        "packages": packages | {"python": platform.python_version()},
    }


def _use(about: dict[str, Any]) -> str:
    """What to do with the release: talk to it, or where it makes vectors and answers nothing, serve it."""
    decode = about["decode"]
    return "serve" if decode["kind"] == "embed" and not decode["labels"] else "chat"


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

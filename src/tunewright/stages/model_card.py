"""The model card of a release, in the Hub's format: what it is, how it was judged, and how to use it.

It names files, counts and figures, and never shows a row: a card is meant to be published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunewright.core.budget import FIGURES
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import lineage
from tunewright.data.sources import HUB
from tunewright.stages import contest, tuned, verdict_card, wording

TASKS = {  # the Hub's word for what a release does, by how it answers
    "classify": "text-classification",
    "regress": "text-classification",
    "reward": "text-classification",
    "tag": "token-classification",
    "embed": "feature-extraction",
}
METRICS = {"exact": "accuracy", "label_f1": "f1", "entity_f1": "f1"}  # the Hub's word, where ours is another
LEAST_SHARE = 0.05  # of the rows that are in a language, to name it
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def card(recipe: Recipe, run: Run, judged: Report, about: Mapping[str, Any], *, license: str | None = None) -> str:
    """The card as Markdown with YAML front matter. about: the manifest's. license: the base's, where it is known."""
    parts = [
        f"---\n{front_matter(recipe, run, judged, about, license=license)}\n---",
        f"# {run.name}, release {about['release']:03d}",
        *_verdict(judged, about),
        *_figures(judged),
        *_asked(run, judged),
        *_guards(judged),
        *_use(recipe, run, about),
        *_limits(recipe, judged, about),
        *_data(recipe, run),
        *_training(recipe, run, about),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(
    recipe: Recipe, run: Run, judged: Report, about: Mapping[str, Any], *, license: str | None = None
) -> str:
    """The YAML that the Hub reads: license, language, library, base, data sets, tags, and results with intervals."""
    from huggingface_hub import EvalResult, ModelCardData

    given, kind = recipe.deploy.card, about["method"]["kind"]
    task = TASKS.get(about["decode"]["kind"], "text-generation")
    hub_sets = [re.split("[@:]", one.removeprefix(HUB))[0] for one in recipe.data.sources if one.startswith(HUB)]
    version = lineage.read(run.path("data"))
    kinds = {grader.label: grader.kind for grader in recipe.the_graders()}
    results = [
        EvalResult(
            task_type=task,
            dataset_type=hub_sets[0] if hub_sets else run.name,
            dataset_name=f"test rows of {run.name}",
            dataset_split="test",
            dataset_revision=version.id if version else None,
            metric_type=METRICS.get(kinds.get(label, label), kinds.get(label, label)),
            metric_name=label,
            metric_value=figure["value"],
            metric_args={"confidence": 0.95, "low": figure["low"], "high": figure["high"], "rows": figure["n"]},
        )
        for label, figure in _measured(about["scores"])
    ]
    base = about["base"] if HUB_ID.match(str(about["base"])) and not Path(about["base"]).exists() else None
    only_adapter = about["formats"] == ["adapter"]
    return str(
        ModelCardData(
            license=given.license or license or "unknown",
            language=list(given.language) or _languages(run),
            library_name="transformers" if not only_adapter else "tunewright" if kind == "bottleneck" else "peft",
            pipeline_tag=task,
            base_model=base,
            base_model_relation=None if base is None else "adapter" if only_adapter else "finetune",
            datasets=hub_sets or None,
            tags=list(
                dict.fromkeys(["tunewright", kind, tuned.final(recipe, run)[0].the_objective().kind, *given.tags])
            ),
            model_name=run.name,
            eval_results=results or None,
        ).to_yaml()
    )


def _measured(figures: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for label, figure in figures.items():
        if isinstance(figure, dict) and {"value", "low", "high", "n"} <= figure.keys():
            yield label, figure


def _languages(run: Run) -> list[str] | None:
    prepared = run.report("prepare")
    shares = ((prepared.numbers.get("languages") or {}) if prepared else {}).get("prompt") or {}
    return [code for code, share in shares.items() if share >= LEAST_SHARE and len(code) in (2, 3)] or None


# --- how it was judged ---


def _verdict(judged: Report, about: Mapping[str, Any]) -> Iterator[str]:
    yield f"Verdict: **{about['verdict']}**. {judged.reason or ''}".rstrip()
    if about["override"]:
        yield f"Released against the verdict: {about['override']}"


def _figures(judged: Report) -> Iterator[str]:
    yield "## Figures"
    graders = list(dict.fromkeys(label for one in judged.contestants.values() for label, _ in _measured(one)))
    if not graders:
        yield "Nothing was graded."
        return
    costs = contest.cost_cells(judged.contestants, judged.numbers.get("rows") or 0)
    rows = []
    for name, one in judged.contestants.items():
        cells = [verdict_card.interval(one[label]) if one.get(label) else "-" for label in graders]
        rows.append([name, *cells, *(of[name] for of in costs.values())])
    yield _table(["", *graders, *costs], rows)
    yield f"Values with 95 % intervals on {judged.numbers.get('rows', 0):,} test rows that nothing was learned from."


def _asked(run: Run, judged: Report) -> Iterator[str]:
    trained = run.report("train")
    broken = [proof.name for proof in trained.proofs if not proof.holds] if trained else []
    if lines := verdict_card.lines(judged, broken):
        yield "### What was asked for"
        yield _table(
            ["what", "asked for", "measured", ""], [[one.what, one.asked, one.measured, one.state] for one in lines]
        )


def _guards(judged: Report) -> Iterator[str]:
    rows = []
    for guard in judged.guards:
        for one in guard.measures:
            sides = [wording.brief(side) if side is not None else "-" for side in (one.base, one.tuned)]
            bound = f"{one.side} {wording.brief(one.bound)}" if one.bound is not None else "-"
            rows.append([f"{guard.guard}: {one.name}", *sides, verdict_card.reach(one), bound, one.state])
    if rows:
        yield "### Guards"
        yield "What tuning may have harmed; a guard gates only where it has a bound."
        yield _table(["", "base", "tuned", "measured", "bound", ""], rows)


# --- how to use it ---


def _use(recipe: Recipe, run: Run, about: Mapping[str, Any]) -> Iterator[str]:
    yield "## How to use it"
    if recipe.deploy.card.use:
        yield recipe.deploy.card.use
    decode = about["decode"]["kind"]
    system = ", behind the system message `decode.system`" if about["decode"].get("system") else ""
    yield f"Answers are made by `{decode}`{system} (see `manifest.json`, key `decode`); tunewright's server obeys it."
    yield f"```\ntunewright serve {run.name}        # the OpenAI API\ntunewright chat {run.name}\n```"
    if "adapter" in about["formats"] and about["method"]["kind"] != "bottleneck":
        texts = ", ".join(about["new_tokens"])
        room = f" First `base.resize_token_embeddings(len(tokenizer))` for its new tokens {texts}." if texts else ""
        yield (
            "`adapter/` is in PEFT's layout; open its base yourself, since `adapter_config.json` may name a folder of "
            f"the machine it was made on.{room}"
        )
        yield '```python\nfrom peft import PeftModel\n\nmodel = PeftModel.from_pretrained(base, "adapter")\n```'
    if "merged" in about["formats"]:
        yield "`merged/` opens with the transformers library:"
        yield (
            "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            'model = AutoModelForCausalLM.from_pretrained("merged")\n'
            'tokenizer = AutoTokenizer.from_pretrained("merged")\n```'
        )
    if about["root"]:
        yield (
            f"{about['root']} tokens that an earlier training learned stand before every row: `root/`, in PEFT's "
            'layout, beside the weights (`PeftModel.from_pretrained(merged, "merged/root")`). '
            "Without them the weights answer as they do off the task."
        )


def _limits(recipe: Recipe, judged: Report, about: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits"
    said = ["The figures hold for rows like the test rows; other questions were not measured."]
    looks = judged.numbers.get("openings") or 0
    if looks > 1:
        said.append(f"The test set was opened {looks} times, so its figures may be a little kinder than new rows.")
    if not judged.guards:
        said.append("Nothing was measured beside the goal: no guard was carried out.")
    budget = recipe.evaluate.budget
    if budget and (missing := budget.unmeasured(judged.contestants.get("tuned", {}))):
        said.append(f"Not measured: {', '.join(key for key in FIGURES.values() if key in missing)}.")
    said.append(f"It inherits what its base `{_base(about)}` does wrong.")
    if recipe.deploy.card.limits:
        said.append(recipe.deploy.card.limits)
    yield "\n".join(f"- {one}" for one in said)


# --- where it comes from ---


def _data(recipe: Recipe, run: Run) -> Iterator[str]:
    prepared, version = run.report("prepare"), lineage.read(run.path("data"))
    if prepared is None:
        return
    yield "## Data"
    rows = prepared.numbers.get("rows") or {}
    sides = ", ".join(f"{rows[side]:,} {side}" for side in ("train", "validation", "test") if side in rows)
    named = f" (version `{version.id}`)" if version else ""
    yield f"{sides or 'Rows prepared by hand'}{named}; personal data {_scrubbed(recipe)}."
    files = [[_file(name), f"`{str(digest)[:12]}`"] for name, digest in prepared.numbers.get("fingerprint", {}).items()]
    if files:
        yield _table(["source", "SHA-256, revision or size"], files)
    left_out = {"quarantined": "unreadable", "duplicates": "copies", "twins_dropped": "twins of rows that measure"}
    gone = [f"{rows[key]:,} {words}" for key, words in left_out.items() if rows.get(key)]
    if gone:
        yield f"Left out: {', '.join(gone)}."


def _scrubbed(recipe: Recipe) -> str:
    return "was taken out by rules" if recipe.data.scrub else "was not looked for by `data.scrub`"


def _file(name: str) -> str:
    return name if name.startswith(HUB) else Path(name).name


def _training(recipe: Recipe, run: Run, about: Mapping[str, Any]) -> Iterator[str]:
    trained = run.report("train")
    numbers = trained.numbers if trained else {}
    yield "## Training"
    objective = tuned.final(recipe, run)[0].the_objective().kind
    took = f" in {wording.took(numbers['training_seconds'])}" if "training_seconds" in numbers else ""
    yield (
        f"Tuned from `{_base(about)}` with `{about['method']['kind']}` and the objective `{objective}` on "
        f"{numbers.get('examples', '?')} examples in {numbers.get('steps', '?')} steps{took}."
    )
    proofs = trained.proofs if trained else []
    if proofs:
        held = sum(proof.holds for proof in proofs)
        yield f"{held} of {len(proofs)} proofs of the training hold."
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    yield f"Made with {packages}. The whole recipe is in `recipe.yaml`; hashes of every file are in `manifest.json`."


def _base(about: Mapping[str, Any]) -> str:
    """The base's name; of a folder, the folder's own name alone."""
    base = str(about["base"])
    return Path(base).name if base.startswith(("/", ".", "~")) else base


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")

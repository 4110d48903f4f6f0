"""The report page: complete, partial, hostile and huge runs; and what a real browser makes of it."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.core.run import Run
from tunewright.stages import drawing, page, wording

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STAGES = ("prepare", "choose", "train", "evaluate", "deploy")
RECIPE = """\
name: support-desk
data:
  sources:
  - /home/ada/bank/train.jsonl
  format: instruction  # default: detected from the columns when 'auto'
  fields: {}
  test: /home/ada/bank/test.jsonl
  split:  # default: how rows are parted
    train: 0.7  # default: share of the rows to learn from
    validation: 0.15  # default: share that watches training (early stopping)
  max_bad: 0.1  # default: more unreadable rows than this share stop the run with a question
model:
  base: nano  # default: the bundled base; or a folder, or a Hub id
method: {kind: lora, rank: 16}  # 1,310 rows: an adapter learns them well and stays small
objective: sft  # default: learn the answers
train:
  epochs: 4.0  # few rows and a small base: four passes
  batch: 16  # 1,310 rows: about 80 steps an epoch
  lr: 0.004  # adapters of a 4.7M base bear a high rate; larger bases need less
  schedule: cosine  # default: how the learning rate falls; cosine is forgiving
evaluate:
  graders:
  - {kind: exact, field: intent}
  - {kind: rouge, field: response}
  against: [base, few_shot]
  goal: {grader: intent, at_least: 0.85, beat: [base, few_shot], level: 0.05}
  slice: source
"""
MESSAGES = (
    (
        "someone rang pretending to be you lot and i gave them the code, now theres 2 payments i dont know",
        "Fraud Report",
    ),
    (
        "Hello, I would like to know until what time your branch in the old town is open on Saturdays, please.",
        "General Inquiry",
    ),
    ("LOCKED OUT AGAIN!!! third time this week your app says wrong passcode and it is NOT wrong", "Account Access"),
    ("charged twice for one taxi, 18.40 both times, driver says its you and you say its him", "Transaction Dispute"),
)
INTENTS = ("Account Access", "Fraud Report", "Transaction Dispute", "General Inquiry")


def measured(value: float, n: int, reach: float) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - reach), "high": min(1.0, value + reach * 0.8), "n": n}


def answer(
    intent: str, response: str = "Thank you for telling us. Which card is it? A colleague will look at it today."
) -> str:
    return json.dumps({"intent": intent, "response": response})


def samples() -> list[dict[str, Any]]:
    rows = []
    for number, (text, intent) in enumerate(MESSAGES):
        tuned = intent if number != 3 else "General Inquiry"
        others = {"base": "the the bank is a of the money and the", "few_shot": answer("General Inquiry")}
        rows.append(
            {
                "id": f"test:{number + 1}",
                "prompt": text,
                "expected": answer(intent),
                "slice": ("hand", "generated")[number % 2],
            }
            | {"answers": {"tuned": answer(tuned), **others}}
            | {"scores": {"tuned": float(tuned == intent), "base": 0.0, "few_shot": float(intent == "General Inquiry")}}
        )
    return rows


def prepared(run: str) -> Report:
    edges = [20 + 14 * number for number in range(21)]
    counts = [round(160 * math.exp(-((number - 6) ** 2) / 18)) for number in range(20)]
    lengths = {"min": 12, "median": 98, "p95": 214, "max": 301, "histogram": {"edges": edges, "counts": counts}}
    return Report(
        stage="prepare",
        run=run,
        seconds=1.4,
        numbers={
            "sources": {"/home/ada/bank/train.jsonl": "ab12", "/home/ada/bank/test.jsonl": "cd34"},
            "format": "instruction",
            "rows": {"read": 1561, "kept": 1543, "quarantined": 3, "duplicates": 15, "train": 1086, "validation": 235, "test": 222},
            "quarantine": {"not valid JSON": 2, "the answer is empty": 1},
            "labels": {label: {"train": 300 - 35 * place, "validation": 60, "test": 52} for place, label in enumerate(INTENTS)},
            "lengths": {"prompt": lengths, "answer": lengths | {"median": 141}},
        },
        findings=[
            Finding(name="twins", message="Rows that differ in case or punctuation only.", rows=9, example="card blocked help"),
            Finding(
                name="contradictions", severity="warning", rows=4, example="is this you calling me?",
                message="The same prompt has different answers.", remedy="Correct them in train.jsonl: the model cannot learn both.",
            ),
        ],
    )  # fmt: skip


def chosen(run: str) -> Report:
    reasons = {key: why for key, why in re.findall(r"^  (\w+): .*?  # (.*)$", RECIPE, re.MULTILINE)}
    return Report(
        stage="choose",
        run=run,
        seconds=2.1,
        numbers={
            "reasons": {f"train.{key}": why for key, why in reasons.items() if key in ("epochs", "batch", "lr")}
            | {
                "method": "1,310 rows: an adapter learns them well and stays small",
                "train.schedule": "default: forgiving",
            },
            "rejected": [{"what": "method: full", "why": "with 1,310 rows all weights would learn them by heart"}],
            "steps": 272,
            "tokens": 810_000,
            "seconds": 71.0,
            "memory_bytes": 420 * 2**20,
            "trainable_parameters": 466_944,
        },
    )


def trained(run: str) -> Report:
    claims = {
        "mask": (
            "decoded learned spans are exactly the answers and their end-of-turn token",
            "8 of 8 rows",
            "all rows",
        ),
        "template": ("training, evaluation and serving send identical token ids", "identical for 8 of 8", "identical"),
        "packing": ("loss and gradient of the forest equal those of the rows alone", 3.1e-7, 1e-5),
        "accumulation": ("gradients do not change with micro_tokens", 4.0e-7, 1e-5),
        "merge": ("merged weights answer as base plus adapter do", 2.2e-6, 1e-4),
        "split": ("no test row has an exact or normalised twin in training", "0 twins", "0 twins"),
    }
    return Report(
        stage="train",
        run=run,
        seconds=88.2,
        numbers={
            "steps": 272, "planned_steps": 272, "best_step": 238, "validation_loss": 0.412, "tokens": 803_112,
            "training_seconds": 79.6, "tokens_per_second": 10_089.0, "trainable_parameters": 466_944,
            "peak_memory_bytes": 512 * 2**20,
        },
        proofs=[ProofResult(name=name, claim=c, measured=m, bound=b, holds=True) for name, (c, m, b) in claims.items()],
    )  # fmt: skip


def evaluated(run: str) -> Report:
    def figures(exact: float, rouge: float, seconds: float) -> dict[str, Any]:
        slices = {
            name: {"intent": measured(exact - shift, n, 0.06)}
            for name, shift, n in (("generated", -0.01, 150), ("hand", 0.04, 72))
        }
        both = {"intent": measured(exact, 222, 0.036), "response": measured(rouge, 222, 0.028)}
        return both | {"seconds": seconds, "answers_per_second": 222 / seconds, "slices": slices}

    comparison = {"grader": "intent", "low": 0.86, "high": 0.95, "p": 0.0, "wins": 205, "losses": 0, "n": 222}
    return Report(
        stage="evaluate",
        run=run,
        seconds=41.0,
        verdict="GO",
        reason="intent is 0.932 (95 % interval 0.891 to 0.958, 222 test rows): its lower end reaches the 0.850 asked for, and it beats base by 0.923 (p < 0.0001) and few_shot by 0.666 (p < 0.0001)",
        contestants={
            "tuned": figures(0.932, 0.641, 9.2),
            "base": figures(0.009, 0.082, 12.8),
            "few_shot": figures(0.266, 0.301, 18.5),
        },
        numbers={
            "grader": "intent",
            "goal": {"grader": "intent", "at_least": 0.85, "beat": ["base", "few_shot"], "level": 0.05},
            "comparisons": [
                comparison | {"against": "base", "difference": 0.923, "p_holm": 0.0},
                comparison | {"against": "few_shot", "difference": 0.666, "p_holm": 0.00002, "losses": 3},
            ],
            "samples": samples(),
            "errors": [{"expected": "Transaction Dispute", "got": "General Inquiry", "n": 6, "example": "test:4"}],
        },
    )


def released(run: str) -> Report:
    return Report(stage="deploy", run=run, seconds=1.9, numbers={"release": "001"}, next=f"tunewright chat runs/{run}")


MAKERS = {"prepare": prepared, "choose": chosen, "train": trained, "evaluate": evaluated, "deploy": released}


def events(num_steps: int, every: int) -> list[dict[str, Any]]:
    draw, rows = random.Random(0), []
    for step in range(1, num_steps + 1):
        ideal = 0.34 + 2.9 * math.exp(-step / (num_steps / 7))
        lr = 0.004 * min(1.0, step / (0.05 * num_steps)) * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        facts = {"tokens": 2900, "forest_tokens": 1800, "learned_tokens": 700, "grad_norm": 0.6, "seconds": 0.29}
        loss = ideal * draw.lognormvariate(0, 0.11)
        rows.append(
            {
                "event": "step",
                "time": 0.0,
                "step": step,
                "total": num_steps,
                "epoch": step / 68,
                "loss": loss,
                "lr": lr,
                **facts,
            }
        )
        if step % every == 0:
            held = ideal * 1.05 + 0.00035 * max(0, step - 0.85 * num_steps) * 272 / num_steps
            rows.append({"event": "validation", "time": 0.0, "step": step, "loss": held, "best": True})
    return rows


def make_run(folder: Path, *, stages: tuple[str, ...] = STAGES, num_steps: int = 272, every: int = 34) -> Run:
    """A run written by hand, as the stages would leave it."""
    run = Run(folder / "support-desk")
    storage.write_json(
        run.path("run.json"), {"name": run.name, "state": "running", "stage": "deploy", "step": 0, "total": 0}
    )
    storage.write_text(run.path("recipe.yaml" if "choose" in stages else "recipe.given.yaml"), RECIPE)
    for stage in stages:
        MAKERS[stage](run.name).save(run.path(stage))
    if "train" in stages:
        storage.write_jsonl(run.path("events.jsonl"), events(num_steps, every))
    if "deploy" in stages:
        about = {
            "base": "nano",
            "method": {"kind": "lora", "rank": 16},
            "verdict": "GO",
            "formats": {"adapter": "adapter", "merged": "merged"},
        }
        with storage.new_folder(run.path("releases", "001"), about=about | {"decode": {"kind": "generate"}}) as release:
            (release / "README.md").write_text("A release.\n")
    return run


@pytest.mark.parametrize("num_stages", range(len(STAGES) + 1))
def test_page_renders_after_every_stage(tmp_path: Path, num_stages: int) -> None:
    html = page.render(make_run(tmp_path, stages=STAGES[:num_stages]))
    headings = re.findall(r"<h2>(\w+)</h2>", html)
    expected = {0: [], 1: ["Data"], 2: ["Data", "Choices"], 3: ["Training", "Data", "Proofs", "Choices"]}
    whole = ["Contestants", "Training", "Data", "Proofs", "Answers", "Choices"]
    assert headings == [*expected.get(num_stages, whole), "Recipe", "Release"]
    assert ("NOT JUDGED YET" in html) == (num_stages < 4)


@pytest.mark.parametrize("stage", STAGES)
def test_page_renders_any_stage_alone(tmp_path: Path, stage: str) -> None:
    assert "</html>" in page.render(make_run(tmp_path, stages=(stage,)))


def test_page_shows_the_figures_of_the_reports(tmp_path: Path) -> None:
    html = page.render(make_run(tmp_path))
    for text in (
        "GO</p>",
        "0.932",
        "0.850",
        "+0.923",
        "p &lt; 0.0001",
        "1,543",
        "quarantined",
        "not valid JSON",
        "3.1e",
        "step 238",
    ):
        assert text in html, text
    assert "tunewright serve" in html
    assert html.count('class="mark right"') == 6 + 4  # six proofs; three right answers of tuned, one of few_shot


@pytest.mark.parametrize(("verdict", "badge"), [("GO", "GO"), ("NO-GO", "NO-GO"), ("NEED MORE", "NEED 1,240 MORE")])
def test_badge_says_the_verdict(tmp_path: Path, verdict: str, badge: str) -> None:
    run = make_run(tmp_path)
    report = evaluated(run.name)
    report.model_copy(update={"verdict": verdict, "numbers": report.numbers | {"need": 1240}}).save(
        run.path("evaluate")
    )
    assert f'<p class="badge">{badge}</p>' in page.render(run)


def test_newest_measurement_of_a_proof_is_shown_and_broken_ones_come_first(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    again = ProofResult(name="merge", claim="merged equals adapter", measured=0.5, bound=0.1, holds=False)
    time.sleep(0.02)
    Report(stage="prove", run=run.name, proofs=[again]).save(run.path("prove"))
    html = page.render(run)
    assert html.count("<b>merge</b>") == 1
    assert html.index("<b>merge</b>") < html.index("<b>mask</b>")
    assert 'class="broken"' in html


def hostile_run(folder: Path) -> Run:
    """Markup and troublesome letters wherever a user's text can stand."""
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\x1b\ud800"
    run = make_run(folder)
    first, judged, picked = prepared(run.name), evaluated(run.name), chosen(run.name)
    numbers = first.numbers | {"labels": {attack: {"train": 3}}, "quarantine": {attack: 1}, "sources": {attack: "x"}}
    finding = Finding(name=attack, severity="problem", message=attack, example=attack, remedy=attack, rows=1)
    put(run, "prepare", first.model_copy(update={"numbers": numbers, "findings": [finding]}))
    figures = {attack if name == "base" else name: found for name, found in judged.contestants.items()}
    figures["tuned"]["slices"][attack] = {"intent": measured(0.5, 3, 0.1)}
    rows = [
        row | {"id": attack, "prompt": attack, "expected": attack, "answers": {"tuned": attack, attack: attack}}
        for row in samples()
    ]
    errors = [{"expected": attack, "got": attack, "n": 1, "example": attack}]
    changed = judged.numbers | {"samples": rows, "errors": errors}
    put(run, "evaluate", judged.model_copy(update={"reason": attack, "contestants": figures, "numbers": changed}))
    reasons = picked.numbers | {"reasons": {attack: attack}, "rejected": [{"what": attack, "why": attack}]}
    put(run, "choose", picked.model_copy(update={"numbers": reasons}))
    proof = ProofResult(name=attack, claim=attack, measured=attack, bound=attack, holds=True)
    put(run, "train", trained(run.name).model_copy(update={"proofs": [proof]}))
    storage.write_text(run.path("recipe.yaml"), 'name: "<script>alert(1)</script>"  # <script>alert(1)</script>\n')
    storage.write_json(run.path("run.json"), {"state": "failed", "error": "<script>alert(1)</script>"})
    return run


def put(run: Run, stage: str, report: Report) -> None:
    """Save a report as ASCII, so that a lone surrogate survives as it does in a user's JSON."""
    storage.write_text(run.path(stage, "report.json"), json.dumps(report.model_dump()))


def test_user_text_is_escaped_everywhere(tmp_path: Path) -> None:
    html = page.render(hostile_run(tmp_path))
    assert "<script" not in html and "<img" not in html and "onerror=alert(2)>" not in html
    assert html.count("&lt;script&gt;") > 20
    assert not re.search("[\x00\x1b\ud800-\udfff]", html)
    html.encode("utf-8")


def test_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    html = page.render(make_run(tmp_path))
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"']?\s*(?:https?:)?//", html)
    assert not re.search(r"url\(|@import|<script|<link(?![^>]*data:,)", html)


def test_ten_thousand_steps_stay_small_and_quick(tmp_path: Path) -> None:
    run = make_run(tmp_path, num_steps=10_000, every=50)
    page.render(run)  # compiles the template
    started = time.process_time()
    html = page.render(run)
    assert time.process_time() - started < 0.5
    assert len(html.encode()) < 600_000


def test_rendering_imports_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    code = (
        "import sys; from tunewright.core.run import Run; from tunewright.stages import page; "
        f"page.render(Run({str(run.folder)!r})); print([m for m in ('torch', 'transformers', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_losses_that_are_not_finite_are_left_out() -> None:
    rows = [{"step": step, "loss": math.nan if step == 3 else 1.0 / step, "lr": 0.1} for step in range(1, 9)]
    found = drawing.losses(rows, [{"step": 8, "loss": math.inf, "best": False}])
    assert found is not None and "nan" not in found.raw + found.smooth and found.looks == []


def test_thinned_curve_keeps_the_spike_and_the_best_look() -> None:
    steps = [{"step": step, "loss": 9.0 if step == 7777 else 1.0, "lr": 0.1} for step in range(1, 10_001)]
    looks = [{"step": step, "loss": 0.5 if step == 4_010 else 0.8, "best": False} for step in range(10, 10_001, 10)]
    found = drawing.losses(steps, looks)
    assert found is not None and len(found.looks) <= drawing.MOST_LOOKS + 1
    assert [look.best for look in found.looks].count(True) == 1 and found.best_step == 4_010
    heights = [float(pair.split()[1]) for pair in found.raw[1:].split("L")]
    assert min(heights) < -3000 and len(heights) <= 2 * drawing.RAW_BUCKETS


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 3.2, [0, 1, 2, 3, 4]),
        (0, 272, [0, 100, 200, 300]),
        (3.21, 3.28, [3.2, 3.22, 3.24, 3.26, 3.28]),
        (1, 1, [1, 1.2]),
    ],
)
def test_ticks_are_round_and_cover(low: float, high: float, expected: list[float]) -> None:
    ticks = drawing.nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high
    assert ticks[: len(expected)] == pytest.approx(expected)


def test_yaml_comment_is_parted_from_quoted_hashes() -> None:
    lines = wording.yaml_lines("name: 'a # b'  # why # not\n- {kind: x}\n# whole\nit's: don't # c\n")
    assert [(line.key, line.value, line.comment) for line in lines] == [
        ("name", "'a # b'", "why # not"), ("", "{kind: x}", ""), ("", "", "whole"), ("it's", "don't", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7290, "2 h 1 min")]
)
def test_times_read_well(seconds: float, words: str) -> None:
    assert wording.took(seconds) == words


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("make", [make_run, hostile_run])
@pytest.mark.parametrize("width", [360, 390, 1200])
def test_nothing_is_wider_than_the_window(tmp_path: Path, make: Any, width: int) -> None:
    # a frame of the wanted width, since a headless window is never narrower than 500 px
    run = make(tmp_path)
    measure = "<script>document.documentElement.dataset.wide = [...document.querySelectorAll('body *')].filter("
    measure += "e => !e.closest('.wide > table') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className).join('|') "
    measure += "+ ' of ' + document.documentElement.scrollWidth + '/' + innerWidth</script>"
    inner = page.render(run).replace("</body>", measure + "</body>").replace("&", "&amp;").replace('"', "&quot;")
    show = 'onload="document.title = this.contentDocument.documentElement.dataset.wide"'
    file = tmp_path / "frame.html"
    file.write_text(
        f'<!doctype html><title></title><iframe {show} style="width:{width}px;height:900px;border:0" srcdoc="{inner}"></iframe>'
    )
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000",
         "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert found is not None
    assert found[1] == f" of {width}/{width}"

"""The report page: complete, partial, hostile and huge runs; and what a real browser makes of it."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from written_run import STAGES, chosen, evaluated, make_run, measured, prepared, samples, trained

from tunewright.core import storage
from tunewright.core.example import Example
from tunewright.core.report import Finding, Place, ProofResult, Report
from tunewright.core.run import Run
from tunewright.stages import drawing, page, wording
from tunewright.stages.data_card import data_card

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.parametrize("num_stages", range(len(STAGES) + 1))
def test_page_renders_after_every_stage(tmp_path: Path, num_stages: int) -> None:
    text = page.render(make_run(tmp_path, stages=STAGES[:num_stages]))
    headings = re.findall(r"<h2>(\w+)</h2>", text)
    expected = {0: [], 1: ["Data"], 2: ["Data", "Choices"], 3: ["Training", "Data", "Proofs", "Choices"]}
    whole = ["Verdict", "Contestants", "Guards", "People", "Training", "Data", "Proofs", "Answers", "Choices"]
    assert headings == [*expected.get(num_stages, whole), "Recipe", "Release"]
    assert ("NOT JUDGED YET" in text) == (num_stages < 4)


@pytest.mark.parametrize("stage", STAGES)
def test_page_renders_any_stage_alone(tmp_path: Path, stage: str) -> None:
    assert "</html>" in page.render(make_run(tmp_path, stages=(stage,)))


def test_page_shows_the_figures_of_the_reports(tmp_path: Path) -> None:
    text = page.render(make_run(tmp_path))
    for word in (
        "GO</p>",
        "0.932",
        "0.850",
        "+0.923",
        "p\N{NO-BREAK SPACE}&lt;\N{NO-BREAK SPACE}0.0001",
        "1,543",
        "quarantined",
        "not valid JSON",
        "3.1e",
        "step 238",
    ):
        assert word in text, word
    assert "tunewright serve" in text
    assert text.count('class="mark right"') == 6 + 4  # six proofs; three right answers of tuned, one of few_shot


def test_documents_are_texts_and_long_lists_of_files_are_cut() -> None:
    lengths = {"prompt": {"median": 2, "histogram": {"edges": [1, 2, 3], "counts": [1, 4]}}, "answer": None}
    sources = {f"texts/{number:02d}.txt": "0" for number in range(25)}
    card = data_card(Report(stage="prepare", run="r", numbers={"sources": sources, "lengths": lengths}))
    assert card is not None
    assert [histogram.name for histogram in card.histograms] == ["text"]
    assert dict(card.facts)["sources"].endswith("06.txt, 07.txt and 17 more")


def test_a_finding_tells_its_rows_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, stages=("prepare",))
    found = [
        Finding(name="few", message="The test side has 15 rows.", count=15),
        Finding(name="a", message="Odd.", count=5),
    ]
    prepared(run.name).model_copy(update={"findings": found}).save(run.path("prepare"))
    text = page.render(run)
    assert "(15 rows)" not in text and "(5 rows)" in text


@pytest.mark.parametrize(
    ("verdict", "need", "badge"),
    [
        ("GO", None, "GO"),
        ("NO-GO", None, "NO-GO"),
        ("NEED MORE", 1240, "NEED 1,240 MORE"),
        ("NEED MORE", 100_000, "NEED MORE"),  # as many as this means that no number would settle it
    ],
)
def test_badge_says_the_verdict(tmp_path: Path, verdict: str, need: int | None, badge: str) -> None:
    run = make_run(tmp_path)
    report = evaluated(run.name)
    report.model_copy(update={"verdict": verdict, "numbers": report.numbers | {"need": need}}).save(
        run.path("evaluate")
    )
    assert f'<p class="badge">{badge}</p>' in page.render(run)


def test_newest_measurement_of_a_proof_is_shown_and_broken_ones_come_first(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    again = ProofResult(name="merge", claim="merged equals adapter", measured=0.5, bound=0.1, holds=False)
    time.sleep(0.02)
    Report(stage="prove", run=run.name, proofs=[again]).save(run.path("prove"))
    text = page.render(run)
    assert text.count("<b>merge</b>") == 1
    assert text.index("<b>merge</b>") < text.index("<b>mask</b>")
    assert 'class="broken"' in text


def hostile_run(folder: Path) -> Run:
    """Markup and troublesome letters wherever a user's text can stand."""
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\x1b\ud800"
    run = make_run(folder)
    first, judged, picked = prepared(run.name), evaluated(run.name), chosen(run.name)
    numbers = first.numbers | {"labels": {attack: {"train": 3}}, "quarantine": {attack: 1}, "sources": {attack: "x"}}
    numbers |= {"languages": {attack: 1}, "fixes": {attack: {"before": 1, "changed": 0, "dropped": 1, "after": 0}}}
    numbers |= {"groups": {"sentences": [attack]}, "scrub": {"replaced": 3, "types": {attack: 3}}}
    place = Place(source=attack, line=3)
    texts = dict.fromkeys(("name", "message", "example", "remedy", "fix"), attack)
    finding = Finding(severity="problem", count=1, rows=[place], **texts)
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
    write_hostile_rows(run, attack.replace("\ud800", ""))
    proof = ProofResult(name=attack, claim=attack, measured=attack, bound=attack, holds=True)
    put(run, "train", trained(run.name).model_copy(update={"proofs": [proof]}))
    storage.write_text(run.path("recipe.yaml"), 'name: "<script>alert(1)</script>"  # <script>alert(1)</script>\n')
    storage.write_json(run.path("run.json"), {"state": "failed", "error": "<script>alert(1)</script>"})
    return run


def write_hostile_rows(run: Run, attack: str) -> None:
    """Rows of markup, long ones among them, half of them as tokens."""
    rows = [
        {"id": f"{attack}:{number}", "messages": [
            {"role": "user", "content": attack + "x" * 400 * number}, {"role": "assistant", "content": attack}]}
        for number in range(8)
    ]  # fmt: skip
    storage.write_jsonl(run.path("data", "train.jsonl"), rows)
    seen = [{"text": "<|user|>" + attack, "learned": False}, {"text": attack, "learned": True}]
    kept = [storage.digest(Example.model_validate(row).to_row()) for row in rows[::2]]
    shown = [{"pieces": seen, "tokens": 9, "learned": 4}]
    storage.write_jsonl(run.path("encoded", "preview.jsonl"), ({"row": digest, "shown": shown} for digest in kept))


def put(run: Run, stage: str, report: Report) -> None:
    """Save a report as ASCII, so that a lone surrogate survives as it does in a user's JSON."""
    storage.write_text(run.path(stage, "report.json"), json.dumps(report.model_dump()))


def lossy_run(folder: Path) -> Run:
    """Rows lost in every way, and sides of very different size."""
    run = make_run(folder)
    first = prepared(run.name)
    rows = {"read": 1_000_000, "kept": 600_003, "quarantined": 99_997, "duplicates": 1, "twins_dropped": 299_999}
    rows |= {"fixed": 0, "not_selected": 0, "train": 600_001, "validation": 1, "test": 1}
    counts = {"rows_read": 1_000_000, "rows_quarantined": 99_997, "rows_dropped": 300_000, "rows_kept": 600_003}
    numbers = first.numbers | {"rows": rows, "sources": {"/data/" + "train" * 30 + ".jsonl": counts}}
    put(run, "prepare", first.model_copy(update={"numbers": numbers}))
    return run


def test_user_text_is_escaped_everywhere(tmp_path: Path) -> None:
    text = page.render(hostile_run(tmp_path))
    assert "<script" not in text and "<img" not in text and "onerror=alert(2)>" not in text
    assert text.count("&lt;script&gt;") > 50
    assert text.count('class="drawn"') == 8 and text.count("&lt;|user|&gt;") == 4
    assert not re.search("[\x00\x1b\ud800-\udfff]", text)
    text.encode("utf-8")


def test_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    text = page.render(make_run(tmp_path))
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"']?\s*(?:https?:)?//", text)
    assert not re.search(r"url\(|@import|<script|<link(?![^>]*data:,)", text)


def test_ten_thousand_steps_stay_small(tmp_path: Path) -> None:
    assert len(page.render(make_run(tmp_path, num_steps=10_000, every=50)).encode()) < 600_000


def test_rendering_imports_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    code = (
        "import sys; from tunewright.core.run import Run; from tunewright.stages import page; "
        f"page.render(Run({str(run.folder)!r})); "
        "print([m for m in ('torch', 'transformers', 'polars') if m in sys.modules])"
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
@pytest.mark.parametrize("make", [make_run, hostile_run, lossy_run])
@pytest.mark.parametrize("width", [360, 390, 1200])
def test_nothing_is_wider_than_the_window(tmp_path: Path, make: Callable[[Path], Run], width: int) -> None:
    measuring = """<script>
      const wide = [...document.querySelectorAll("body *")].filter(
        e => !e.closest(".wide > table") && e.getBoundingClientRect().right > innerWidth + 1);
      document.documentElement.dataset.found =
        wide.map(e => e.tagName + "." + e.className).join(" ") + "; " + document.documentElement.scrollWidth;
    </script></body>"""
    # shown in a frame, since a headless window is never narrower than 500 px
    page_text = page.render(make(tmp_path)).replace("</body>", measuring).replace("<details", "<details open")
    frame = f"""<!doctype html><title></title><iframe style="width:{width}px; height:900px; border:0"
      onload="document.title = this.contentDocument.documentElement.dataset.found"
      srcdoc="{html.escape(page_text)}"></iframe>"""
    assert re.search("<title>(.*?)</title>", browsed(frame, tmp_path)).group(1) == f"; {width}"


def browsed(text: str, folder: Path) -> str:
    """The document as Chromium holds it after its scripts have run."""
    file = folder / "shown.html"
    file.write_text(text, encoding="utf-8")
    quiet = ("first-run", "sandbox", "default-browser-check")
    off = ("gpu", "background-networking", "component-update", "sync")
    options = [f"--no-{name}" for name in quiet] + [f"--disable-{name}" for name in off]
    options += ["--hide-scrollbars", "--window-size=1400,1000", f"--user-data-dir={folder / 'profile'}"]
    command = [str(CHROMIUM), "--headless", *options, "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_a_loss_below_zero_is_drawn() -> None:
    steps = [{"step": n, "loss": -1.0 + n / 100, "lr": 0.1} for n in range(1, 50)]
    figure = drawing.losses(steps, [{"step": 10, "loss": -0.7}])
    assert figure is not None and figure.last_loss < 0
    assert next(tick.label for tick in figure.y_ticks).startswith("-")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_answers_are_picked_by_keyboard_and_without_scripts(tmp_path: Path) -> None:
    driver = pytest.importorskip("playwright.sync_api")
    file = tmp_path / "shown.html"
    file.write_text(page.render(make_run(tmp_path)), encoding="utf-8")
    with driver.sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(java_script_enabled=False).new_page()
        tab.goto(file.as_uri())
        shown = tab.locator(".samples article:visible")
        assert shown.count() == 4
        tab.locator("#all").focus()
        found = {}
        for _ in range(2):
            tab.keyboard.press("ArrowRight")
            found[tab.locator("input:checked").get_attribute("id")] = shown.count()
        assert found == {"won": 3, "wrong": 1}
        browser.close()


def test_where_it_fails_is_shown_with_its_rows_and_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    report = evaluated(run.name)
    row = {"id": "t:1", "asked": "why <b>fees</b>?", "expected": "fee", "answered": "rate"}
    group = {"kind": "word", "name": "fees", "n": 9, "failing": 6, "share": 0.67, "low": 0.35, "high": 0.88}
    failed = {
        "rows": 40,
        "failing": 8,
        "groups": [group | {"elsewhere": 0.06, "p": 0.003, "weak": True}],
        "clusters": [{"words": ["fees"], "n": 5, "share": 0.6, "examples": [row]}],
        "hardest": [row | {"confidence": 0.9}],
        "labels": {"n": 1, "rows": [row]},
    }
    report.model_copy(update={"numbers": report.numbers | {"failures": failed}}).save(run.path("evaluate"))
    shown = page.render(run)
    assert "Where it fails" in shown and "1 test label that may be wrong" in shown
    assert "why &lt;b&gt;fees&lt;/b&gt;?" in shown and "<b>fees</b>" not in shown

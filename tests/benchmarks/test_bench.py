"""The benchmark holds its contenders to the same work, and its tables and pictures say what was measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are scripts beside each other."""
    sys.path.insert(0, str(FOLDER))
    import cases
    import contenders
    import measuring
    import page
    import picture
    import turns
    import workload

    yield SimpleNamespace(
        cases=cases, contenders=contenders, measuring=measuring, page=page, picture=picture, turns=turns,
        workload=workload,
    )  # fmt: skip
    sys.path.remove(str(FOLDER))


def facts(seconds: list[float], tokens: float, loss: float) -> dict[str, Any]:
    """What a contender's process writes."""
    return {
        "turns": [{"tokens": tokens, "flops": 100 * tokens, "seconds": second} for second in seconds],
        "peak_memory_bytes": 2**30,
        "first_step_seconds": 5.0,
        "check": {"first loss": [loss]},
    }


def measured(bench: SimpleNamespace) -> dict[str, Any]:
    """A case of three rounds: the peer takes twice, 2.5 and four times as long."""
    contenders = {"tunewright": facts([1, 2, 1], 1000, 10.0), "flattening": facts([2, 5, 4], 1000, 10.001)}
    bench.measuring.check(contenders)
    return dict(bench.measuring.summary(bench.cases.CASES["small"], contenders=contenders, limits=[2e5] * 3))


def test_every_contender_of_every_case_exists(bench: SimpleNamespace) -> None:
    for case in bench.cases.CASES.values():
        assert set(case.contenders) <= set(bench.contenders.CONTENDERS[case.work])
        assert case.contenders[0] == bench.cases.OURS
        assert not case.shape or case.shape in bench.workload.SHAPES
    assert {*bench.cases.QUICK, *bench.cases.OPTIONAL} <= set(bench.cases.CASES)


def test_medians_ratios_and_shares(bench: SimpleNamespace) -> None:
    found = measured(bench)["contenders"]
    assert found["tunewright"]["speed"] == 1000
    assert found["flattening"]["ours_is_times_faster"] == 2.5
    assert found["tunewright"]["share_of_limit"] == 0.5


def test_a_contender_that_does_other_work_stops_the_benchmark(bench: SimpleNamespace) -> None:
    contenders = {"tunewright": facts([1], 1000, 10.0), "flattening": facts([1], 1000, 10.1)}
    with pytest.raises(SystemExit, match="flattening does other work"):
        bench.measuring.check(contenders)
    contenders["flattening"]["check"] = {"answers": [[1, 2]]}
    contenders["tunewright"]["check"] = {"answers": [[1, 3]]}
    with pytest.raises(SystemExit, match="flattening does other work"):
        bench.measuring.check(contenders)


def test_tables_and_picture_say_what_was_measured(bench: SimpleNamespace, tmp_path: Path) -> None:
    found = measured(bench)
    table = bench.page.lines(found)
    assert table[0] == "| what | tokens/s | of ceiling | peak memory | tunewright is |"
    assert table[3].endswith("| 250 | 12% | 1.00 GiB | 2.50 times as fast |")
    drawn = ElementTree.fromstring(bench.picture.bars({"small": found}, bench.page.NAMES))
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in drawn.iter(f"{space}rect") if bar.attrib["class"] != "paper"]
    assert widths == [bench.picture.SCALE * 0.5, pytest.approx(bench.picture.SCALE * 0.125)]


def test_curves_are_drawn_for_every_sweep(bench: SimpleNamespace) -> None:
    points = [{"at": 1, "seconds": 1.0}, {"at": 2, "seconds": 2.0}]
    sweeps = [{"title": f"Sweep {n}", "what": "rows", "units": {"seconds": "s"}, "points": points} for n in range(3)]
    drawn = ElementTree.fromstring(bench.picture.curves(sweeps))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 3


def test_figures_are_written_between_the_page_s_markers(bench: SimpleNamespace, tmp_path: Path) -> None:
    page, about = bench.page, {"date": "2026-01-02T03:04:05", "processor": "P", "threads": 2, "versions": {"x": "1"}}
    import json

    (tmp_path / "small.json").write_text(json.dumps({"machine": about, **measured(bench)}), encoding="utf-8")
    (tmp_path / "performance.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", encoding="utf-8")
    page.fill(tmp_path, tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and "2.50 times as fast" in text
    assert (tmp_path / "performance.svg").exists()


STUB = """
import argparse, json, pathlib, sys, time
sys.path.insert(0, {folder!r})
from turns import Turns
parser = argparse.ArgumentParser()
parser.add_argument("name")
options = ("case", "shape", "method", "units", "size", "told", "tell", "base", "out", "folder", "born", "megabytes")
for option in options:
    parser.add_argument("--" + option)
o = parser.parse_args()
turns = Turns(born=float(o.born), size=int(o.size), told=int(o.told), tell=int(o.tell))
diary = pathlib.Path(o.folder, "diary.txt")
for number in range(int(o.units)):
    with turns.unit() as done:
        with diary.open("a") as file:
            file.write(o.name + " ")
        if o.name == "trl" and number == 1:
            raise ValueError("out of cheese")
        time.sleep(0.01)
        done["tokens"] = 100
turns.check["answers"] = [[1, 2]]
pathlib.Path(o.out).write_text(json.dumps(turns.facts()))
"""


@pytest.fixture
def stub(bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Contenders without a model, which write down when they work."""
    (tmp_path / "contenders.py").write_text(STUB.format(folder=str(FOLDER)), encoding="utf-8")
    monkeypatch.setattr(bench.measuring, "HERE", tmp_path)
    return tmp_path


def test_contenders_work_in_turns_after_warming_up(bench: SimpleNamespace, stub: Path) -> None:
    case = bench.cases.Case("t", "instructions", "", ("tunewright", "padded"), size=2)
    found = bench.measuring.run_case(case, rounds=3, threads=1, folder=stub)
    a, b = ["tunewright"], ["padded"]
    warm_up, rounds = a + b, [2 * a + 2 * b, 2 * b + 2 * a, 2 * a + 2 * b]
    assert (stub / "diary.txt").read_text().split() == [*warm_up, *(name for turn in rounds for name in turn)]
    assert [turn["tokens"] for turn in found["contenders"]["padded"]["rounds"]] == [200, 200, 200]


def test_fresh_contenders_are_measured_from_their_start(bench: SimpleNamespace, stub: Path) -> None:
    case = bench.cases.Case("t", "instructions", "", ("tunewright", "padded"), figure="seconds", fresh=True)
    found = bench.measuring.run_case(case, rounds=2, threads=1, folder=stub)
    assert (stub / "diary.txt").read_text().split() == ["tunewright", "padded", "padded", "tunewright"]
    assert all(turn["seconds"] > 0.01 for turn in found["contenders"]["tunewright"]["rounds"])


def test_a_contender_that_fails_says_why(bench: SimpleNamespace, stub: Path) -> None:
    case = bench.cases.Case("t", "instructions", "", ("tunewright", "trl"))
    with pytest.raises(SystemExit, match=r"trl failed:[^$]*out of cheese"):
        bench.measuring.run_case(case, rounds=2, threads=1, folder=stub)


def test_turns_leave_out_the_warm_up(bench: SimpleNamespace) -> None:
    turns = bench.turns.Turns(born=0.0, size=2)
    for tokens in (100, 1, 2, 3, 4):
        with turns.unit() as done:
            done["tokens"] = tokens
    assert [turn["tokens"] for turn in turns.facts()["turns"]] == [3, 7]


def test_questions_have_the_lengths_they_claim(bench: SimpleNamespace) -> None:
    assert len({label[0] for label in bench.workload.labels()}) == 77
    few = bench.workload.few_shot_questions(2)
    assert few[0][:-1] == few[1][:-1] and few[0][-1] != few[1][-1]
    assert bench.workload.questions(1)[0][0]["content"].isascii()


def test_pairs_have_the_lengths_they_claim(bench: SimpleNamespace) -> None:
    pairs = bench.workload.preference_pairs(40, 512)
    assert all(128 <= len(pair.prompt) <= 256 for pair in pairs)
    assert all(30 <= len(answer) <= 60 for pair in pairs for answer in (pair.chosen, pair.rejected))

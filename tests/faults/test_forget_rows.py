"""Deletion of a person's rows in a run that was trained, judged and released: nothing is left, whatever dies."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_job import EPOCHS, KILLED, NUM_ROWS, Job, forked, rows, write_job, write_rows

from tunewright.core import storage
from tunewright.core.errors import RunBusy
from tunewright.core.run import Run
from tunewright.models.release import check_release
from tunewright.privacy import audit_log
from tunewright.stages import forgetting, quarantined, vaults, versions

ADA = [
    {"text": "Ada Quill of 7 Fen Lane lost her card", "label": "card", "customer": "ada-17"},
    {"text": "what is the fee on the account of Ada Quill", "label": "fees", "customer": "ada-17"},
    {"text": "my phone is new, where is the code for Ada Quill?", "label": "access", "customer": "ada-17"},
]
SECRETS = (b"Ada Quill", b"Fen Lane", b"ada-17", b"account of Ada")
TOMBSTONE = re.compile(rb"forgotten:[0-9a-f]{16}")
NUM_TRAINED = 2  # the third of her rows is a test row


@pytest.fixture(scope="module")
def released(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run from prepare to deploy with rows of Ada's, whose reports quote her. Copy it, do not change it."""
    import tunewright as tw

    folder = tmp_path_factory.mktemp("released")
    path = write_job(folder, tiny("llama"), epochs=EPOCHS)
    others = [{**row, "customer": f"c-{number % 9}"} for number, row in enumerate(rows(NUM_ROWS))]
    write_rows(folder / "train.jsonl", [*others, *ADA[:2], {"text": "", "label": "fees", "customer": "ada-17"}])
    write_rows(folder / "test.jsonl", [*rows(8, start=200), ADA[2]])
    job = Job(path, folder / "runs")
    tw.run(job.recipe, runs=job.runs, override="a test")
    report = job.run.report("prepare")
    assert report is not None
    quoting = report.findings[0].model_copy(update={"example": "train:41: Ada Quill of 7 Fen L..."})
    report.model_copy(update={"findings": [*report.findings, quoting]}).save(job.run.path("prepare"))
    tw.prepare(job.recipe.model_copy(update={"name": "other"}), runs=job.runs)
    return job


@pytest.fixture
def copied(released: Job, tmp_path: Path) -> Job:
    """A copy to delete from."""
    shutil.copytree(released.runs, tmp_path / "runs")
    return Job(released.path, tmp_path / "runs")


def hits(folder: Path) -> list[str]:
    """Files in whose bytes anything of Ada is."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if any(s in path.read_bytes() for s in SECRETS))


def state(runs: Path) -> dict[str, bytes]:
    """Every file of the runs but those that tell the time."""
    timed = ("audit.jsonl", ".audit.key", "version.json", "quarantined.json", "report.html", "run.json")
    files = [path for path in runs.rglob("*") if path.is_file()]
    same = [path for path in files if path.name not in timed and ".lock" not in path.name and ".audit" not in path.name]
    # tombstones are keyed anew in each copy
    return {str(path.relative_to(runs)): TOMBSTONE.sub(b"forgotten", path.read_bytes()) for path in same}


def test_without_yes_nothing_is_touched_and_all_is_named(copied: Job) -> None:
    before = {path: path.read_bytes() for path in copied.runs.rglob("*") if path.is_file()}
    report = forgetting.forget(where="customer=ada-17", runs=copied.runs)
    assert {path: path.read_bytes() for path in copied.runs.rglob("*") if path.is_file()} == before
    assert report.numbers["by_run"] == {"job": 3, "other": 3}
    assert report.numbers["quarantined_lines"] == 2
    job = next(one for one in report.numbers["runs"] if one["name"] == "job")
    assert job["rows"] == {"train": 2, "test": 1}
    assert (job["trained_rows"], job["releases"]) == (NUM_TRAINED, ["001"])
    assert {"ledger.jsonl", "prepare/report.json", "evaluate/answers.jsonl"} <= set(job["files"])
    assert not report.numbers["done"]


def test_after_it_no_byte_is_left_and_the_rest_is_whole(copied: Job) -> None:
    assert len(hits(copied.runs)) >= 8
    untouched = (copied.runs / "job" / "data" / "validation.jsonl").read_bytes()
    report = forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    assert report.exit_code == 0
    assert hits(copied.runs) == []
    run = copied.run
    assert (len(run.split("train")), len(run.split("test"))) == (NUM_ROWS, 8)
    assert run.path("data", "validation.jsonl").read_bytes() == untouched
    assert not run.path("encoded").exists()
    prepared = run.report("prepare")
    assert prepared is not None
    counts = prepared.numbers["rows"]
    assert (counts["train"], counts["test"], counts["forgotten"]) == (NUM_ROWS, 8, 3)
    facts = prepared.numbers
    for one in (facts, *facts["sources"].values()):
        assert one["rows_read"] == one["rows_quarantined"] + one["rows_dropped"] + one["rows_kept"]
    assert sum(one["rows_kept"] for one in facts["sources"].values()) == facts["rows_kept"] == counts["kept"]
    assert sum(sum(sides.values()) for sides in prepared.numbers["labels"].values()) == counts["kept"]
    held = versions.find("job", runs=copied.runs)
    assert held.version is not None and held.version.steps[-1].what == "forget"
    assert versions.changed_since(held) == []
    assert len(list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))) == 8


def test_the_ledger_still_shows_that_each_row_was_read_once_an_epoch(copied: Job) -> None:
    forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    ids = Counter(id for row in storage.read_jsonl(copied.run.path("ledger.jsonl")) for id in row["ids"])
    assert set(ids.values()) == {EPOCHS}
    assert len(ids) == NUM_ROWS + NUM_TRAINED
    assert sum(id.startswith("forgotten:") for id in ids) == NUM_TRAINED


def test_weights_that_learned_from_the_rows_are_marked_and_everyone_says_so(copied: Job) -> None:
    import tunewright as tw
    from tunewright.stages import showing

    report = forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    assert report.numbers["quarantined_runs"] == ["job"]  # the other was never trained
    assert [finding.name for finding in quarantined.findings(copied.run)] == ["quarantined_model"]
    assert quarantined.findings(Run(copied.runs / "other")) == []
    assert check_release(copied.run.releases()[0]).name == "job:001"  # its manifest still verifies
    told = tw.deploy(copied.run.folder, override="again")
    assert "quarantined_model" in [finding.name for finding in told.findings]
    assert "quarantined_model" in [finding.name for finding in showing.overview(copied.run.folder).findings]


def test_rows_that_only_judge_mark_no_weights(copied: Job) -> None:
    report = forgetting.forget(ids=["test:9"], runs=copied.runs, yes=True)
    assert report.numbers["rows"] == 2
    assert report.numbers["quarantined_runs"] == []
    assert quarantined.findings(copied.run) == []


def test_ratings_of_the_rows_go_too(copied: Job) -> None:
    def one(id: str, comment: str) -> dict[str, str]:
        return {"rating": id, "id": id, "kind": "pair", "rater": "bo", "comment": comment}

    path = copied.run.path("ratings", "ratings.jsonl")
    path.parent.mkdir()
    said = [one("test:9", "kind"), one("test:8", "as to Ada Quill"), one("test:7", "short")]
    storage.write_jsonl(path, said)
    forgetting.forget(contains="Ada Quill", runs=copied.runs, yes=True)
    assert [(row["id"], row["comment"]) for row in storage.read_jsonl(path)] == [
        ("test:8", "(forgotten)"),
        ("test:7", "short"),
    ]


def test_a_text_is_found_wherever_it_stands_and_in_any_case(copied: Job) -> None:
    log = copied.runs / "traffic" / "log.jsonl"
    storage.write_jsonl(log, [{"id": "1", "said": "it is ADA  QUILL"}, {"id": "2", "said": "it is Bob"}])
    report = forgetting.forget(contains="ada quill", runs=copied.runs, yes=True)
    assert report.exit_code == 0
    assert report.numbers["rows"] == 6
    files = (path for path in copied.runs.rglob("*") if path.is_file())
    assert not [path for path in files if b"ada quill" in path.read_bytes().lower()]
    assert [row["said"] for row in storage.read_jsonl(log)] == ["(forgotten)", "it is Bob"]


def test_another_person_is_not_touched(copied: Job) -> None:
    report = forgetting.forget(where="customer=nobody", runs=copied.runs)
    assert report.numbers["rows"] == 0
    assert "customer" in report.findings[0].message
    before = state(copied.runs)
    forgetting.forget(where="customer=nobody", runs=copied.runs, yes=True)
    assert state(copied.runs) == before
    kept = forgetting.forget(where="customer=c-3", runs=copied.runs)
    assert kept.numbers["by_run"] == {"job": 5, "other": 5}  # 40 rows, every ninth


def test_a_run_at_work_is_not_deleted_from(copied: Job) -> None:
    before = state(copied.runs)
    with copied.run.working("train"), pytest.raises(RunBusy, match="stop it, then run the same command again"):
        forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    assert state(copied.runs) == before
    assert not (copied.runs / audit_log.NAME).exists()


def test_source_files_lose_the_lines_only_when_asked_and_the_others_keep_their_numbers(copied: Job) -> None:
    import tunewright as tw

    folder = copied.runs.parent
    for name in ("train", "validation", "test"):
        shutil.copy(copied.path.parent / f"{name}.jsonl", folder / f"{name}.jsonl")
    values = json.loads(copied.path.read_text())
    (folder / "recipe.json").write_text(json.dumps({**values, "name": "own"}))
    tw.prepare(folder / "recipe.json", runs=folder / "own")
    ids = [example.id for example in Run(folder / "own" / "own").split("train")][:NUM_ROWS]
    told = forgetting.forget(where="customer=ada-17", runs=folder / "own", yes=True)
    assert sum(finding.count or 0 for finding in told.findings if finding.name == "in_sources") == 4
    assert b"Ada Quill" in (folder / "train.jsonl").read_bytes()
    forgetting.forget(where="customer=ada-17", runs=folder / "own", yes=True, also_sources=True)
    sources = b"".join((folder / f"{name}.jsonl").read_bytes() for name in ("train", "validation", "test"))
    assert not any(secret in sources for secret in SECRETS)
    tw.prepare(folder / "recipe.json", runs=folder / "own")
    assert [example.id for example in Run(folder / "own" / "own").split("train")] == ids


def visited(copied: Job, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    points: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(storage, "failpoint", points.append)
        forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    return points


@pytest.mark.parametrize("part", range(4))
def test_killed_at_any_point_the_same_command_completes(
    released: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    def fresh(name: str) -> Job:
        shutil.copytree(released.runs, tmp_path / name)
        return Job(released.path, tmp_path / name)

    whole = fresh("whole")
    points = visited(whole, monkeypatch)
    wanted = state(whole.runs)
    seen: Counter[str] = Counter()
    for number, point in enumerate(points):
        seen[point] += 1
        # before a rename nothing has changed: one failpoint of three will do
        if not point.endswith((".rename", ".cache")) or number % 4 != part:
            continue
        job = fresh(f"killed-{number}")
        forget: Callable[[], Any] = lambda job=job: forgetting.forget(  # noqa: E731
            where="customer=ada-17", runs=job.runs, yes=True
        )
        assert forked(forget, fail=f"{point}:{seen[point]}:kill") == KILLED, point
        actions = [record.action for record in audit_log.records(job.runs / audit_log.NAME)]
        assert "forget.done" not in actions, point
        report = forget()
        assert report.exit_code == 0, point
        assert state(job.runs) == wanted, point
        assert hits(job.runs) == []
        records = audit_log.records(job.runs / audit_log.NAME)
        assert records[-1].action == "forget.done"
        assert records[0].counts.get("rows") == 6 or point.startswith(("audit", "forget"))
        assert [finding.name for finding in quarantined.findings(job.run)] == ["quarantined_model"], point
        shutil.rmtree(job.runs)


def test_the_log_tells_nothing_of_the_person_and_follows_the_chain(copied: Job) -> None:
    report = forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    log = copied.runs / audit_log.NAME
    assert not any(secret in log.read_bytes() for secret in SECRETS)
    assert audit_log.verify(log).head == report.numbers["head"]
    assert forgetting.audit(runs=copied.runs, head=report.numbers["head"]).exit_code == 0
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0])
    cut = forgetting.audit(runs=copied.runs, head=report.numbers["head"])
    assert cut.exit_code == 3
    assert cut.numbers["bad"] == 2


def test_of_a_private_run_the_rows_go_too(copied: Job, tmp_path: Path) -> None:
    key = tmp_path / "key"
    vaults.new_key(key)
    for name in ("job", "other"):
        vaults.lock(copied.runs / name, key=str(key), runs=copied.runs)
    assert hits(copied.runs) == []  # nothing is in plain, and all is there
    report = forgetting.forget(where="customer=ada-17", runs=copied.runs, yes=True)
    assert report.exit_code == 0 and report.numbers["by_run"] == {"job": 3, "other": 3}
    assert hits(copied.runs) == []
    for name in ("job", "other"):
        vaults.unlock(copied.runs / name, runs=copied.runs)
    assert hits(copied.runs) == []
    assert len(copied.run.split("train")) == NUM_ROWS

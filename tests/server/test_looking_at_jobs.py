"""Lists end, filters hold, and what belongs to another project is not there."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tunewright.workspace.tables import Job, Model

from .shop import Shop

JOBS = "/fine_tuning/jobs"


def make(shop: Shop, count: int, **values: object) -> list[str]:
    file = shop.file()
    return [shop.post(JOBS, {"model": "nano", "training_file": file, **values}).json()["id"] for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("limit", [1, 2, 20])
def test_pages_end_and_hold_each_job_once(shop: Shop, count: int, limit: int) -> None:
    made = make(shop, count)
    assert [job.id for job in shop.client().fine_tuning.jobs.list(limit=limit)] == made[::-1]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=00000000199999999999999999999", "limit"),
        ("after=ftjob-none", "after"),
        ("after=%00", "after"),
        ("metdata[a]=b", "metdata[a]"),
        ("metadata=all", "metadata"),
        ("metadata[]=b", "metadata"),
        ("metadata[=b", "metadata"),
        ("order=up", "order"),
    ],
)
def test_a_query_that_says_nothing_is_refused(shop: Shop, query: str, param: str) -> None:
    answer = shop.get(f"{JOBS}?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_metadata_chooses_jobs(shop: Shop) -> None:
    make(shop, 1)
    pairs = [{"team": "a"}, {"team": "a", "k.e$y[0]": "50 % & more"}, {"team": "b", "empty": ""}]
    (first,), (second,), (third,) = [make(shop, 1, metadata=one) for one in pairs]
    listing = shop.client().fine_tuning.jobs.list

    def found(**metadata: str) -> list[str]:
        return [job.id for job in listing(metadata=metadata, limit=1)]

    assert found(team="a") == [second, first]
    assert found(team="a", **{"k.e$y[0]": "50 % & more"}) == [second]
    assert found(empty="") == [third]
    assert found(team="c") == found(colour="a") == found(**{'"': "x", "team": "a"}) == found(team="\0") == []
    for query in ("metadata=null", "metadata="):
        assert [job["metadata"] for job in shop.get(f"{JOBS}?{query}").json()["data"]] == [None]


def test_what_a_worker_writes_is_shown(shop: Shop) -> None:
    (job,) = make(shop, 1)
    shop.set(job, status="running", started=1.0, estimated_finish=99.9)
    assert shop.get(f"{JOBS}/{job}").json()["estimated_finish"] == 99
    error = {"code": "invalid_rows", "message": "Row 3 has no messages.", "param": "training_file"}
    shop.set(job, status="failed", finished=100.5, error=error)
    told = shop.get(f"{JOBS}/{job}").json()
    assert (told["estimated_finish"], told["finished_at"], told["error"]) == (None, 100, error)


def test_a_running_job_is_stopped_by_its_worker(shop: Shop) -> None:
    (job,) = make(shop, 1)
    shop.set(job, status="running")
    assert shop.post(f"{JOBS}/{job}/pause").json()["status"] == "running"
    assert shop.post(f"{JOBS}/{job}/cancel").json()["status"] == "running"
    with shop.workspace.database.reading() as session:
        assert session.query(Job.wanted).scalar() == "cancel"
    assert shop.post(f"{JOBS}/{job}/pause").status_code == 400


def test_another_projects_things_answer_as_what_is_not_there(shop: Shop) -> None:
    (job,) = make(shop, 1)
    model = shop.finish(job)
    permissions = f"/fine_tuning/checkpoints/{model}/permissions"
    calls = [
        ("GET", f"{JOBS}/{{job}}"),
        ("GET", f"{JOBS}/{{job}}/events"),
        ("GET", f"{JOBS}/{{job}}/checkpoints"),
        ("POST", f"{JOBS}/{{job}}/cancel"),
        ("POST", f"{JOBS}/{{job}}/pause"),
        ("POST", f"{JOBS}/{{job}}/resume"),
    ]
    with shop.workspace.database.writing() as session:
        session.query(Job).update({"project": "another"})
        session.query(Model).update({"project": "another"})
    absent = job[:-1] + ("a" if job[-1] != "a" else "b")
    for verb, path in calls:
        theirs, none = (
            (shop.get if verb == "GET" else shop.post)(path.format(job=one)) for one in (job, absent)
        )  # fmt: skip
        assert theirs.status_code == none.status_code == 404
        assert theirs.text.replace(job, "JOB") == none.text.replace(absent, "JOB")
    assert shop.get(JOBS).json()["data"] == []
    assert shop.get(permissions).status_code == 404
    assert shop.post(permissions, {"project_ids": ["default"]}).status_code == 404


@pytest.mark.parametrize("odd", ["%00", "%2e%2e%2f%2e%2e", "ftjob-%0a", "x" * 300, "%ff"])
def test_an_odd_id_is_not_there(shop: Shop, odd: str) -> None:
    for answer in (shop.get(f"{JOBS}/{odd}"), shop.post(f"{JOBS}/{odd}/cancel"), shop.get(f"{JOBS}/{odd}/events")):
        assert answer.status_code == 404, answer.text


# --- permissions ---


@pytest.mark.parametrize("body", [{}, {"project_ids": []}, {"project_ids": [""]}, {"project_ids": ["a\n"]}, {"p": 1}])
def test_a_permission_names_projects(shop: Shop, body: dict) -> None:
    (job,) = make(shop, 1)
    path = f"/fine_tuning/checkpoints/{shop.finish(job)}/permissions"
    assert shop.post(path, body).status_code == 400
    assert shop.get(path).json() == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_a_model_whose_name_has_a_slash_travels_escaped(shop: Shop) -> None:
    with shop.workspace.database.writing() as session:
        session.add(Model(name="ft:org/base:local::1:ckpt-step-2", folder="f", base="org/base"))
    path = f"/fine_tuning/checkpoints/{quote('ft:org/base:local::1:ckpt-step-2', safe=':')}/permissions"
    made = shop.post(path, {"project_ids": ["beta"]}).json()["data"][0]
    assert shop.post(path, {"project_ids": ["beta"]}).json()["data"] == [made]
    assert shop.get(f"{path}?order=up").status_code == 400
    assert [one["id"] for one in shop.get(f"{path}?project_id=beta").json()["data"]] == [made["id"]]
    assert shop.get(f"{path}?project_id=gamma").json()["data"] == []

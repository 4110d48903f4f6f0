"""The rating page: over HTTP as a stranger would try it, and in a real browser as raters use it."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tunewright.core.run import Run
from tunewright.server import rating as door
from tunewright.server.listening import listen
from tunewright.stages import rating, ratings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = "a-token-of-the-tests"
PATIENCE = 25_000  # milliseconds, of a busy machine
HOSTILE = "</p><script>document.title='stolen'</script><img src=x onerror=\"document.title='stolen'\"> {{ 7*7 }} &amp;"
Make = Callable[..., Run]


@contextmanager
def served(run: Run, **options: Any) -> Iterator[str]:
    """The page of a run at an address of its own."""
    rater = options.pop("rater", None)
    app = door.build(rating.session(run, **options), TOKEN, rater=rater)
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    listening.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium to rate in")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.name == "posix" and os.getuid() == 0 else []
        )
        yield opened
        opened.close()


def count(page: Any, done: int, total: int) -> None:
    page.locator("#count").get_by_text(f"{done} of {total}", exact=True).wait_for(timeout=PATIENCE)


# --- over HTTP ---


def test_without_the_token_nothing_is_there(answered_run: Make) -> None:
    run = answered_run()
    with served(run, pairs=["tuned:base"]) as address:
        said = {"rater": "eve", "place": 0, "choice": "left"}
        for path in (
            "",
            "rate",
            "wrong/",
            "wrong/rate.js",
            f"{TOKEN}x/",
            f"{TOKEN}/../recipe.yaml",
            f"{TOKEN}/rate.py",
        ):
            assert httpx.get(address + path).status_code in (404, 405), path
        assert httpx.post(f"{address}wrong/rate", json=said).status_code == 404
        assert ratings.read(run, "pair") == []
        assert httpx.get(f"{address}{TOKEN}/").status_code == 200


def test_other_pages_and_other_names_of_this_machine_are_refused(answered_run: Make) -> None:
    run = answered_run()
    with served(run, pairs=["tuned:base"]) as address:
        form = {"content": '{"rater": "eve", "place": 0, "choice": "left"}', "headers": {"content-type": "text/plain"}}
        assert httpx.post(f"{address}{TOKEN}/rate", **form).status_code == 415
        other = {"host": "rebound.example"}
        assert httpx.get(f"{address}{TOKEN}/", headers=other).status_code == 403
        big = httpx.post(
            f"{address}{TOKEN}/rate", json={"rater": "eve", "place": 0, "choice": "left", "comment": "x" * 10**5}
        )
        assert big.status_code == 413
        assert ratings.read(run, "pair") == []


def test_nothing_of_the_page_comes_from_outside(answered_run: Make) -> None:
    with served(answered_run(), pairs=["tuned:base"]) as address:
        page = httpx.get(f"{address}{TOKEN}/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "tuned" not in page.text.replace("tunewright", "")
        for name in ("rate.js", "rate.css", "report.css"):
            found = httpx.get(f"{address}{TOKEN}/{name}")
            assert found.status_code == 200
            assert not re.search(r"https?://|@import|innerHTML|eval\(", found.text)


def test_what_cannot_be_taken_is_said_in_one_sentence(answered_run: Make) -> None:
    with served(answered_run(), pairs=["tuned:base"]) as address:
        for body in ({"rater": ""}, {"rater": "x" * 99}, {"rater": "ada", "whose": "tuned"}, {}):
            answer = httpx.post(f"{address}{TOKEN}/next", json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"]
        said = httpx.post(f"{address}{TOKEN}/rate", json={"rater": "ada", "place": 0, "choice": "worst"})
        assert "Unknown choice 'worst'" in said.json()["error"]["message"]


# --- in a browser ---


def test_two_raters_by_keyboard_with_a_reload_between_and_undo(answered_run: Make, browser: Any) -> None:
    run = answered_run(8, people={"rubric": ["accurate"]})
    with served(run, pairs=["tuned:base"]) as address:
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{address}{TOKEN}/")
        page.locator("#name").wait_for()
        page.keyboard.type("Ada")
        page.keyboard.press("Enter")
        count(page, 0, 9)
        for number, key in enumerate(("1", "ArrowRight", "0", "9"), 1):
            page.keyboard.press(key)
            count(page, number, 9)
        page.reload()  # goes on, without asking for the name
        count(page, 4, 9)
        page.keyboard.press("u")
        count(page, 3, 9)
        page.keyboard.press("c")
        page.keyboard.type("2 is a digit 0 here, u too")
        page.keyboard.press("Enter")
        page.locator("#rubric input[value=same]").check()
        page.keyboard.press("ArrowLeft")  # moves the mark: an arrow in the rubric rates nothing
        assert page.locator("#rubric input[value=left]").is_checked()
        page.keyboard.press("2")
        count(page, 4, 9)
        assert page.locator("#comment").input_value() == ""
        for number in range(5, 9):
            page.keyboard.press("s" if number == 8 else "1")
            count(page, number, 9)
        page.keyboard.press("1")
        page.locator("#done").wait_for()
        page.locator("#who").click()
        page.locator("#name").wait_for()
        page.keyboard.type("Bo")
        page.keyboard.press("Enter")
        count(page, 0, 9)
        page.keyboard.press("2")
        count(page, 1, 9)
        page.close()
        assert faults == []
        assert all(url.startswith((address, "data:")) for url in requests)
    kept = ratings.read(run, "pair")
    assert Counter(row["rater"] for row in kept) == {"Ada": 9, "Bo": 1}
    ada = [row for row in kept if row["rater"] == "Ada"]
    assert [row["choice"] for row in ada][:4] == ["left", "right", "both good", "right"]
    assert ada[3]["comment"] == "2 is a digit 0 here, u too"
    assert ada[3]["criteria"] == {"accurate": "left"}
    assert [row["choice"] for row in ada].count("skip") == 1
    assert sum(row["repeat"] for row in ada) == 1
    assert all(row["seconds"] >= 0 for row in kept)


def test_hostile_answers_are_shown_as_they_are_and_do_nothing(answered_run: Make, browser: Any) -> None:
    run = answered_run(4, texts=lambda row: {"tuned": f"{HOSTILE} {row}", "base": ""})
    with served(run, rater="Ada") as address:
        page = browser.new_page()
        page.goto(f"{address}{TOKEN}/")
        count(page, 0, 5)
        texts = [page.locator(f"#{side} p").inner_text() for side in ("left", "right")]
        assert any(text.startswith("</p><script>") for text in texts)
        assert "(an empty answer)" in texts
        assert page.locator("#answers script, #answers img").count() == 0
        assert page.title() == "Blind rating - tunewright"
        page.close()


def test_cases_by_keyboard(answered_run: Make, browser: Any) -> None:
    run = answered_run(cases=3, gate={"cases": "cases.jsonl"})
    with served(run, gate=True, rater="Ada") as address:
        page = browser.new_page()
        page.goto(f"{address}{TOKEN}/")
        count(page, 0, 3)
        page.locator("#expected summary").click()
        assert page.locator("#expected p").inner_text() == "Yes."
        for key in "1", "2", "u", "1", "1":  # the second mark is taken back
            page.keyboard.press(key)
        count(page, 1, 3)
        for key in "121":
            page.keyboard.press(key)
        assert page.get_by_text("A critical failure?").is_visible()
        page.keyboard.press("2")
        count(page, 2, 3)
        page.keyboard.press("u")
        count(page, 1, 3)
        for key in "1212":
            page.keyboard.press(key)
        count(page, 2, 3)
        for key in "2", "1", "1", "1":
            page.keyboard.press(key)
        page.locator("#done").wait_for()
        page.close()
    first, second, third = ratings.read(run, "case")
    assert first["criteria"] == {"accurate": True, "safe": True, "in style": True}
    assert (second["criteria"]["safe"], second["critical"]) == (False, True)
    assert (third["criteria"]["accurate"], third["critical"]) == (False, False)


def test_a_server_that_is_gone_is_told(answered_run: Make, browser: Any) -> None:
    page = browser.new_page()
    with served(answered_run(), pairs=["tuned:base"], rater="Ada") as address:
        page.goto(f"{address}{TOKEN}/")
        count(page, 0, 45)
        page.route("**/rate", lambda route: route.abort())
        page.keyboard.press("1")
        page.get_by_text("The server does not answer").wait_for(timeout=PATIENCE)
        page.unroute("**/rate")
        page.keyboard.press("1")
        count(page, 1, 45)
    page.close()


def test_the_command_tells_its_address_and_ends_with_the_results(answered_run: Make, tmp_path: Path) -> None:
    import json
    import signal
    import subprocess
    import sys

    run = answered_run()
    command = [sys.executable, "-m", "tunewright.cli", "rate", str(run.folder), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["numbers"]["address"]
        told = httpx.post(f"{address}rate", json={"rater": "ada", "place": 0, "choice": "left"})
        assert told.json()["done"] == 1
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert process.returncode == 0
    assert [row["choice"] for row in ratings.read(run, "pair")] == ["left"]

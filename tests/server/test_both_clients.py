"""Every call with the official client, this major version and the one before; every answer fits its types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openai
import pytest

from . import all_calls
from .shop import Shop

PREVIOUS = Path(sys.prefix) / "previous"


def succeeded(shop: Shop) -> str:
    job = shop.client().fine_tuning.jobs.create(model="nano", training_file=shop.file())
    shop.finish(job.id)
    return job.id


def test_jobs_are_as_the_client_has_them(shop: Shop) -> None:
    all_calls.jobs(shop.client(), shop.file())


def test_all_else_is_as_the_client_has_it(shop: Shop) -> None:
    all_calls.walk(shop.url, shop.file(), succeeded(shop))


@pytest.mark.skipif(not PREVIOUS.exists(), reason=f"no previous client in {PREVIOUS}; make puts it there")
def test_the_client_before_gets_the_same(shop: Shop) -> None:
    file, job = shop.file(), succeeded(shop)
    done = subprocess.run(
        [sys.executable, all_calls.__file__, str(PREVIOUS), shop.url, file, job],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) < int(openai.__version__.split(".")[0])

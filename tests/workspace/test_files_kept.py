"""Files of a workspace: who sees them, how long their bytes stay, and what is cleared away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from tunewright.core import storage
from tunewright.workspace import files, ids, jobs, uploads
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import File, Job, Upload, UploadPart


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def arrived(place: Workspace, *, purpose: str = "fine-tune", project: str = "default") -> File:
    """The row of a file whose bytes have come."""
    file_id = ids.new("file-")
    with storage.arriving(place.files / file_id) as arriving:
        arriving.write(b"{}\n")
    return files.new(file_id, arriving, filename="a.jsonl", purpose=purpose, project=project)


def put(place: Workspace, *, project: str = "default") -> str:
    row = arrived(place, project=project)
    with place.database.writing() as session:
        session.add(row)
    return row.id


def there(place: Workspace, file_id: str) -> bool:
    return (place.files / file_id).exists()


def seen(place: Workspace, file_id: str, project: str = "default") -> bool:
    with place.database.reading() as session:
        return files.find(session, file_id, project=project) is not None


def test_a_file_is_its_projects_alone(place: Workspace) -> None:
    file_id = put(place, project="red")
    assert seen(place, file_id, "red") and not seen(place, file_id, "blue")
    with place.database.writing() as session:
        assert not files.delete(session, file_id, project="blue")
        assert files.delete(session, file_id, project="red")
        assert not files.delete(session, file_id, project="red")


def test_a_job_that_learns_keeps_a_deleted_files_bytes(place: Workspace) -> None:
    file_id, other = put(place), put(place)
    with place.database.writing() as session:
        session.add(Job(id="ftjob-1", model="m", base="m", run="r", status="running", training_file="file-x",
                        validation_file=file_id, seed=0, method={}))  # fmt: skip
        for one in (file_id, other):
            files.delete(session, one, project="default")
    files.sweep(place)
    assert not seen(place, file_id) and there(place, file_id) and not there(place, other)
    with place.database.writing() as session:
        jobs.move(session, "ftjob-1", since=["running"], to="failed")
    files.sweep(place)
    assert not there(place, file_id)


def test_expired_files_vanish(place: Workspace) -> None:
    file_id, other = put(place), put(place)
    with place.database.writing() as session:
        session.execute(update(File).where(File.id == file_id).values(expires=time.time() - 1))
    assert not seen(place, file_id)  # before anything is swept
    files.sweep(place)
    assert not there(place, file_id) and there(place, other)


def test_files_of_batches_expire_by_themselves(place: Workspace) -> None:
    row = arrived(place, purpose="batch")
    assert row.expires == pytest.approx(row.created + 30 * 86400)
    assert arrived(place).expires is None


def test_what_no_row_names_goes_when_nobody_writes_it(place: Workspace) -> None:
    fresh, stale = (place.files / name for name in ("file-fresh", ".file-old.abc.tmp"))
    for path in (fresh, stale):
        storage.write_bytes(path, b"x")
    os.utime(stale, (0, 0))
    files.sweep(place)
    assert fresh.exists() and not stale.exists()


def test_an_upload_expires_after_an_hour_with_its_parts(place: Workspace) -> None:
    with place.database.writing() as session:
        for number, expires in ((1, time.time() - 1), (2, time.time() + 60)):
            session.add(Upload(id=f"upload_{number}", filename="a", purpose="batch", bytes=1, mime_type="text/plain",
                               status="pending", expires=expires))  # fmt: skip
            session.add(UploadPart(id=f"part_{number}", upload_id=f"upload_{number}", bytes=1, sha256="0"))
            storage.write_bytes(place.uploads / f"part_{number}", b"x")
    with place.database.writing() as session:
        row = uploads.find(session, "upload_1", project="default")
        assert row is not None and uploads.status(row) == "expired"
        assert not uploads.end(session, "upload_1", to="completed")
    files.sweep(place)
    assert not (place.uploads / "part_1").exists() and (place.uploads / "part_2").exists()
    with place.database.reading() as session:
        row = uploads.find(session, "upload_1", project="default")
    assert row is not None and row.status == "expired"


def test_an_interrupted_arrival_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cut"), storage.arriving(tmp_path / "a") as arriving:
        arriving.write(b"half")
        raise ValueError("cut")
    assert list(tmp_path.iterdir()) == []
    with storage.arriving(tmp_path / "a") as arriving:
        arriving.write(b"ab")
        arriving.write(b"c")
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert (arriving.num_bytes, arriving.sha256, arriving.md5) == (
        3,
        storage.sha256(tmp_path / "a"),
        "900150983cd24fb0d6963f7d28e17f72",  # RFC 1321, A.5
    )

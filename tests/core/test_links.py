"""Files that lie in two places, and templates' paths."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tunewright.core import storage, templates


def test_a_linked_file_outlives_the_first_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "below" / "b"
    first.write_text("one")
    storage.link(first, second)
    assert os.path.samefile(first, second)
    first.unlink()
    storage.link(tmp_path / "other", second)  # it is there
    assert second.read_text() == "one"


def test_where_nothing_can_be_linked_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("one")
    storage.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "one" and not os.path.samefile(tmp_path / "a", tmp_path / "b")


def test_the_paths_of_a_template() -> None:
    text = "{{ item.a.b }} {{item['c'][0]}} {{sample.output_text}} {{not a path}} {"
    assert templates.paths(text) == [["item", "a", "b"], ["item", "c", 0], ["sample", "output_text"]]

"""Files that lie in two places, links, and templates' paths."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
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


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_folder_tells_what_in_it_is_a_link(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    inside = tmp_path / "release" / "adapter" / "weights"
    storage.write_text(inside, "one")
    assert storage.link_in(tmp_path / "release") is None
    make(inside, tmp_path / "elsewhere")
    assert storage.link_in(tmp_path / "release") == ("adapter/weights" if make is os.link else None)
    make(tmp_path / "elsewhere", tmp_path / "release" / "a")
    assert storage.link_in(tmp_path / "release") == "a"


def test_a_folder_in_a_folder_may_be_a_link(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "elsewhere" / "weights", "one")
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "adapter").symlink_to(tmp_path / "elsewhere")
    assert storage.link_in(tmp_path / "release") == "adapter"


def test_the_paths_of_a_template() -> None:
    text = "{{ item.a.b }} {{item['c'][0]}} {{sample.output_text}} {{not a path}} {"
    assert templates.paths(text) == [["item", "a", "b"], ["item", "c", 0], ["sample", "output_text"]]

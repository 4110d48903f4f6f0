"""Images, sounds and films: kept beside the texts, counted, put aside where they are missing, refused by choose."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data.formats import detect, to_example
from tunewright.data.media import Place
from tunewright.stages import suited

A = {"role": "assistant", "content": "a cat"}
PNG = b"\x89PNG\r\n\x1a\n and so on"
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.png", "two.png", "one.wav"):
        (tmp_path / name).write_bytes(PNG + name.encode())
    return tmp_path


def made(row: dict[str, Any], folder: Path, format: str = "auto", fields: dict[str, str] | None = None) -> Example:
    format = detect([row], fields or {}) if format == "auto" else format
    return to_example(format, row, fields or {}, "a:1", place=Place(folder, folder / "store"))


def shown(example: Example) -> list[tuple[str, str, list[str]]]:
    return [
        (one.role, one.content, [f"{part.kind}:{Path(part.path).name}" for part in one.media or []])
        for one in example.messages
    ]


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}, A]}


TEXT = {"type": "text", "text": "what is it?"}
ASKED = ("user", "<image>what is it?", ["image:one.png"])


@pytest.mark.parametrize("row", [
    user({"type": "image_url", "image_url": {"url": "one.png"}}, TEXT),
    user({"type": "image_url", "image_url": "one.png"}, TEXT),
    user({"type": "image", "image": "one.png"}, TEXT),
    user({"type": "input_image", "image_url": "one.png"}, TEXT),
    {**user({"type": "image"}, TEXT), "images": ["one.png"]},  # TRL: the column holds what the part stands for
    {"messages": [{"role": "user", "content": "<image>what is it?"}, A], "images": ["one.png"]},  # LLaMA-Factory
    {"conversations": [{"from": "human", "value": "<image>what is it?"}, {"from": "gpt", "value": "a cat"}],
     "images": "one.png"},
    {"messages": [{"role": "user", "content": "what is it?"}, A], "images": ["one.png"]},  # ms-swift: no mark
    {"instruction": "<image>what is it?", "input": "", "output": "a cat", "images": ["one.png"]},
    {"question": "what is it?", "answer": "a cat", "image": "one.png"},
    {"question": "what is it?", "answer": "a cat", "image": {"path": "one.png"}},
])  # fmt: skip
def test_every_shape_of_an_image_beside_a_question(row: dict[str, Any], folder: Path) -> None:
    example = made(row, folder)
    assert shown(example) == [ASKED, ("assistant", "a cat", [])]
    assert example.media[0].path == str(folder / "one.png")
    assert example.media[0].sha256 is not None
    assert Example.model_validate(example.to_row()) == example
    assert all("media" not in one.for_template() for one in example.messages)


def test_what_a_row_holds_itself_is_kept_once_under_its_digest(folder: Path) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    source = {"type": "base64", "media_type": "image/png", "data": URL.partition(",")[2]}
    first = made(user({"type": "image_url", "image_url": {"url": URL}}, sound, TEXT), folder)
    again = made(user({"type": "image", "source": source}, TEXT), folder)
    assert shown(first)[0][1] == "<image><audio>what is it?"
    assert [part.kind for part in first.media] == ["image", "audio"]
    assert first.media[0] == again.media[0]
    assert Path(first.media[0].path).read_bytes() == PNG
    assert sorted(path.suffix for path in (folder / "store").iterdir()) == [".png", ".wav"]
    assert not str(first.to_row()).count("base64")


def test_captions_and_transcriptions(folder: Path) -> None:
    assert shown(made({"image": "one.png", "caption": "a cat", "width": 3}, folder)) == [
        ("user", "<image>", ["image:one.png"]),
        ("assistant", "a cat", []),
    ]
    assert shown(made({"audio": "one.wav", "transcription": "yes"}, folder))[0] == (
        "user",
        "<audio>",
        ["audio:one.wav"],
    )
    row = {"audio": "one.wav", "text": "yes", "label": 1}
    with pytest.raises(DataError, match="labels or captions"):
        detect([row], {})
    assert made(row, folder, fields={"audio": "audio", "text": "text"}).meta == {"label": 1}


def test_columns_of_texts_can_be_named_to_leave_images_out(folder: Path) -> None:
    row = {"question": "what is it?", "answer": "a cat", "image": "one.png"}
    example = made(row, folder, fields={"prompt": "question", "completion": "answer"})
    assert (example.media, example.meta) == ([], {"image": "one.png"})
    assert detect([{"text": "a", "label": "b", "image": "a word"}], {}) == "labels"


def test_places_follow_the_marks_over_all_messages(folder: Path) -> None:
    turns = ["first <image> and <audio>", "so", "then <image>"]
    roles = ["user", "assistant", "user", "assistant"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, [*turns, "end"], strict=True)]
    example = made({"messages": messages, "images": ["one.png", "two.png"], "audios": ["one.wav"]}, folder)
    assert [of for _, _, of in shown(example)] == [["image:one.png", "audio:one.wav"], [], ["image:two.png"], []]


@pytest.mark.parametrize(("row", "reason"), [
    ({"messages": [{"role": "user", "content": "<image> <image>"}, A], "images": ["one.png"]}, "more <image>"),
    ({"messages": [{"role": "user", "content": "<image>"}, A], "images": ["one.png"] * 2}, "1 x <image>.*2 given"),
    (user({"type": "image", "image": "one.png"}, {"type": "text", "text": "a <image>"}), "more <image>"),
    ({"image": "none.png", "caption": "a"}, "missing image: there is no file none.png"),
    ({"image": "empty.png", "caption": "a"}, "is empty"),
    (user({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}), "not base64"),
    (user({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}), "must hold base64"),
    ({"image": None, "caption": "a"}, "no image, sound or film"),
    ({"image": {"array": [1.0]}, "caption": "a"}, "no image: a path"),
])  # fmt: skip
def test_what_is_missing_or_broken_has_a_reason(row: dict[str, Any], reason: str, folder: Path) -> None:
    (folder / "empty.png").touch()
    format = "captions" if "caption" in row else "chat"
    with pytest.raises(DataError, match=reason):
        made(row, folder, format)


def test_prepare_keeps_counts_and_quarantines_and_choose_refuses(folder: Path, write: Any, prepared: Any) -> None:
    own = [URL[:-4] + base64.b64encode(bytes([number, 1, 2])).decode() for number in range(19)]
    rows = [{"image": image, "caption": f"cat {number}"} for number, image in enumerate([*own, "one.png"])]
    source = write("cats.jsonl", [*rows, {"image": "gone.png", "caption": "cat"}])
    report, run = prepared(sources=[source])
    assert report.numbers["media"] == {"image": 20}
    assert report.numbers["rows"]["quarantined"] == 1
    assert report.numbers["quarantine"] == {"missing image": 1}
    found = next(finding for finding in report.findings if finding.name == "media")
    assert (found.count, found.severity) == (20, "warning")
    kept = [
        json.loads(line)
        for name in ("train", "validation", "test")
        for line in run.path("data", f"{name}.jsonl").read_text().splitlines()
    ]
    paths = {row["messages"][0]["media"][0]["path"] for row in kept}
    assert len(kept) == 20
    contents = {Path(path).read_bytes() for path in paths}
    assert len(contents) == 20
    assert PNG + b"one.png" in contents
    with pytest.raises(DataError, match=r"image in 20 rows.*reads texts alone"):
        suited.refuse_media(report.numbers)
    suited.refuse_media({})


def test_the_same_words_about_other_images_are_no_copies(folder: Path, write: Any, prepared: Any) -> None:
    images = ["one.png", "two.png", "one.png"]
    report, _ = prepared(sources=[write("cats.jsonl", [{"image": image, "caption": "a cat"} for image in images])],
                         split={"train": 1, "validation": 0, "test": 0})  # fmt: skip
    assert report.numbers["rows"]["duplicates"] == 1
    assert report.numbers["rows"]["kept"] == 2

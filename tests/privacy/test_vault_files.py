"""Encrypted files: what was written comes back or an error does, never anything else."""

from __future__ import annotations

import io
import itertools
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrage import x25519

from tunewright.core import private, sealed, storage
from tunewright.core.errors import CannotDecrypt, NoKey, RunError
from tunewright.privacy import passphrases, vault
from tunewright.privacy.vault import Key
from tunewright.stages import vaults

TEXT = "Zoe Planted-4711 lost her card"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder with a key file beside it."""
    monkeypatch.delenv(vault.VARIABLE, raising=False)
    vault.new_key(tmp_path / "own.key")
    folder = tmp_path / "home"
    folder.mkdir()
    vault.begin(folder, Key(str(tmp_path / "own.key")), complete=True)
    return folder


def forget() -> None:
    """As a new process, which has opened nothing."""
    vault._open.clear()
    vault._named.clear()
    vault._unwrapped.clear()


def lines(path: Path) -> list[dict[str, object]]:
    return list(storage.read_jsonl(path))


# --- what comes back ---


def test_what_is_written_comes_back_and_is_not_on_the_disk(home: Path) -> None:
    path = home / "data" / "train.jsonl"
    assert storage.write_jsonl(path, [{"text": TEXT}, {"text": "another\u2028line"}]) == 2
    forget()
    assert lines(path) == [{"text": TEXT}, {"text": "another\u2028line"}]
    assert b"Planted" not in path.read_bytes() and sealed.is_sealed(path)
    storage.write_text(home / "page.html", TEXT)
    assert storage.read_text(home / "page.html") == TEXT


def test_a_plain_folder_is_as_ever(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "a.json", {"text": TEXT})
    storage.append_jsonl(tmp_path / "a.jsonl", {"text": TEXT})
    assert (tmp_path / "a.json").read_text() == '{\n  "text": "' + TEXT + '"\n}\n'
    assert (tmp_path / "a.jsonl").read_text() == '{"text": "' + TEXT + '"}\n'
    assert isinstance(private.open_write(tmp_path / "b"), io.BufferedWriter)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3 * sealed.BLOCK + 1), st.integers(0, 2**32), st.data())
def test_any_place_of_any_size_is_read(home: Path, size: int, seed: int, data: st.DataObject) -> None:
    content = random.Random(seed).randbytes(size)
    storage.write_bytes(home / "x.bin", content)
    assert storage.read_bytes(home / "x.bin") == content
    assert private.size_of(home / "x.bin") == size
    at, length = data.draw(st.integers(0, size + 5)), data.draw(st.integers(0, size + 5))
    with private.open_read(home / "x.bin") as file:
        assert private.read_at(file, at, length) == content[at : at + length]
        file.seek(at)
        assert file.read(length) == content[at : at + length]


def test_digests_and_manifests_are_of_the_content(home: Path, tmp_path: Path) -> None:
    for folder in (home, tmp_path / "plain"):
        with storage.new_folder(folder / "made", about={"key": 1}) as fresh:
            with private.open_write(fresh / "tokens.bin") as file:
                file.write(b"abc" * 100_000)
            (fresh / "tokenizer.json").write_text("{}")
        assert storage.damage(folder / "made") is None
    plain, own = (storage.read_json(folder / "made" / "manifest.json") for folder in (tmp_path / "plain", home))
    assert plain == own


def test_scratch_is_written_and_read_and_has_no_key_on_the_disk(home: Path) -> None:
    rows = [f"{number} {TEXT}\n".encode() for number in range(30_000)]
    with private.open_scratch(home / "rows.jsonl") as file:
        for row in rows:
            file.write(row)
        file.flush()
        file.seek(0)
        assert list(file) == rows
        begin = len(b"".join(rows[:20_000]))
        assert private.read_at(file, begin, len(rows[20_000])) == rows[20_000]
        found = (home / "rows.jsonl").read_bytes()
    assert b"Planted" not in found and len(found) > sum(map(len, rows))
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(found, [vault.opened(home).identity])


def test_a_file_without_a_name_is_memory(home: Path, tmp_path: Path) -> None:
    with private.open_nameless(home) as file:
        assert "memfd" in os.readlink(f"/proc/self/fd/{file.fileno()}")
    with private.open_nameless(tmp_path) as file:
        assert str(tmp_path) in os.readlink(f"/proc/self/fd/{file.fileno()}")


def test_libraries_find_plain_files_in_memory(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "watched"))
    (tmp_path / "watched").mkdir()
    storage.write_text(home / "weights.bin", TEXT)
    (home / "config.json").write_text("{}")
    with private.readable(home) as folder:
        assert (folder / "weights.bin").read_text() == TEXT and (folder / "config.json").read_text() == "{}"
        assert all(path.is_symlink() for path in folder.iterdir())
    assert list((tmp_path / "watched").iterdir()) == []
    with private.readable(tmp_path / "watched") as folder:
        assert folder == tmp_path / "watched"


# --- appending ---


def test_rows_are_appended_and_a_torn_one_is_cut(home: Path) -> None:
    path = home / "answers.jsonl"
    for number in range(3):
        storage.append_jsonl(path, {"text": TEXT, "n": number})
    whole = path.read_bytes()
    storage.append_jsonl(path, {"n": 3})
    longer = path.read_bytes()
    for cut in range(len(whole), len(longer)):
        path.write_bytes(longer[:cut])
        assert [row["n"] for row in lines(path)] == [0, 1, 2]
    storage.append_jsonl(path, {"n": 4})
    assert [row["n"] for row in lines(path)] == [0, 1, 2, 4]
    storage.keep_rows(path, lambda row: row["n"] != 1)
    storage.append_jsonl(path, {"n": 5})
    assert [row["n"] for row in lines(path)] == [0, 2, 4, 5]


def test_the_first_row_is_there_or_no_file_is(home: Path) -> None:
    path = home / "events.jsonl"
    storage.append_jsonl(path, {"n": 0})
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(CannotDecrypt):
            lines(path)


# --- damage ---


def damaged(content: bytes) -> Iterator[bytes]:
    """A file with one bit flipped, at each place of its beginning and end and some between; cut off at such places."""
    generator = random.Random(0)
    edges = [*range(150), *range(len(content) - 150, len(content))]
    for place in edges + [generator.randrange(len(content)) for _ in range(150)]:
        yield content[:place] + bytes([content[place] ^ (1 << generator.randrange(8))]) + content[place + 1 :]
        yield content[:place]


def test_a_flipped_bit_or_a_cut_is_an_error_and_never_other_content(home: Path) -> None:
    path = home / "data.jsonl"
    storage.write_bytes(path, os.urandom(sealed.BLOCK + 500))
    whole = path.read_bytes()
    num_found = 0
    for content in damaged(whole):
        path.write_bytes(content)
        with pytest.raises(CannotDecrypt, match=r"data\.jsonl cannot be decrypted: .*\. Bring it back"):
            storage.read_bytes(path)
        num_found += 1
    assert num_found == 2 * 450


def test_blocks_cannot_be_moved_left_out_or_exchanged(home: Path) -> None:
    one, two = home / "one.bin", home / "two.bin"
    for path in (one, two):
        storage.write_bytes(path, os.urandom(3 * sealed.BLOCK))
    with one.open("rb") as file:
        blocks, _ = sealed._scan(file, one)
    content, other = one.read_bytes(), two.read_bytes()
    begins = [block.at - sealed._FRAME for block in blocks] + [len(content)]
    parts = [content[begin:end] for begin, end in itertools.pairwise(begins)]
    head, other_head = content[: begins[0]], other[: begins[0]]
    for wrong in (
        [parts[1], parts[0], parts[2]],  # other order
        [parts[0], parts[2]],  # one left out
        [parts[0], parts[1]],  # the last left out
        [*parts, parts[2]],  # one too many
        [],
    ):
        one.write_bytes(head + b"".join(wrong))
        with pytest.raises(CannotDecrypt):
            storage.read_bytes(one)
    one.write_bytes(other_head + b"".join(parts))  # another file's name
    with pytest.raises(CannotDecrypt):
        storage.read_bytes(one)
    one.write_bytes(head + b"".join(parts))
    assert len(storage.read_bytes(one)) == 3 * sealed.BLOCK


def test_a_manifest_names_the_damaged_file(home: Path) -> None:
    with storage.new_folder(home / "made") as fresh, private.open_write(fresh / "tokens.bin") as file:
        file.write(b"abc")
    path = home / "made" / "tokens.bin"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    found = storage.damage(home / "made")
    assert found == "tokens.bin cannot be decrypted: it was changed since it was written"
    (home / "made" / "manifest.json").write_text("{}")
    assert "manifest.json cannot be decrypted" in str(storage.damage(home / "made"))


def test_a_plain_file_put_there_by_hand_is_refused_with_the_remedy(home: Path) -> None:
    (home / "train.jsonl").write_text("{}\n")
    with pytest.raises(CannotDecrypt, match="tunewright data lock"):
        storage.read_bytes(home / "train.jsonl")


def test_no_key_or_nonce_is_used_twice(home: Path) -> None:
    own = vault.opened(home)
    sealings = [own.seal(b"the same content") for _ in range(50)]
    # after the age header comes the nonce of the payload; the header holds the file key, wrapped to a fresh share
    bodies = [sealing.split(b"\n---", 1)[1].split(b"\n", 1)[1] for sealing in sealings]
    shares = [sealing.split(b"-> X25519 ", 1)[1].split(b"\n", 1)[0] for sealing in sealings]
    assert len({body[:16] for body in bodies}) == len(set(shares)) == 50
    for name in ("a", "b"):
        storage.write_text(home / name, TEXT)
    assert not set(chunks((home / "a").read_bytes()[36:])) & set(chunks((home / "b").read_bytes()[36:])) - {b"X25519"}


def chunks(content: bytes) -> Iterator[bytes]:
    """Pieces of a file that do not belong to the form, which all files share."""
    for begin in range(200, len(content) - 16):
        yield content[begin : begin + 16]


# --- keys ---


def test_a_key_file_is_for_its_owner_and_is_not_overwritten(tmp_path: Path) -> None:
    public = vault.new_key(tmp_path / "a" / "own.key")
    assert stat.S_IMODE((tmp_path / "a" / "own.key").stat().st_mode) == 0o600
    assert public.startswith("age1") and public in (tmp_path / "a" / "own.key").read_text()
    before = (tmp_path / "a" / "own.key").read_text()
    with pytest.raises(RunError, match="is there already"):
        vault.new_key(tmp_path / "a" / "own.key")
    assert (tmp_path / "a" / "own.key").read_text() == before


def test_another_key_opens_nothing_and_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write_text(home / "a", TEXT)
    vault.new_key(tmp_path / "other.key")
    monkeypatch.setenv(vault.VARIABLE, str(tmp_path / "other.key"))
    forget()
    with pytest.raises(NoKey, match=r"is encrypted to the key age1\w+, and .*other.key holds the key age1\w+"):
        storage.read_text(home / "a")
    monkeypatch.setenv(vault.VARIABLE, str(tmp_path / "own.key"))
    assert storage.read_text(home / "a") == TEXT


@pytest.mark.parametrize("content", ["", "nonsense", "AGE-SECRET-KEY-1ABC", "# only a comment\n"])
def test_a_file_that_holds_no_key_says_so(home: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "own.key").write_text(content)
    forget()
    with pytest.raises(NoKey, match="holds no age key") as told:
        vault.opened(home)
    assert not content or content not in str(told.value)


def test_a_missing_key_file_or_vault_file_says_so(home: Path, tmp_path: Path) -> None:
    storage.write_text(home / "a", TEXT)
    (tmp_path / "own.key").unlink()
    forget()
    with pytest.raises(NoKey, match=r"own\.key, which is not there"):
        storage.read_text(home / "a")
    (home / private.VAULT).write_text("{}")
    with pytest.raises(NoKey, match="damaged"):
        storage.read_text(home / "a")
    (home / private.VAULT).unlink()
    with pytest.raises(NoKey, match=r"no tunewright-vault\.json lies beside it"):
        storage.read_text(home / "a")


def test_a_passphrase_opens_and_another_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_WORDS", "correct horse")
    vault.begin(tmp_path, Key("env:SECRET_WORDS", is_passphrase=True), complete=True)
    storage.write_text(tmp_path / "a", TEXT)
    forget()
    assert storage.read_text(tmp_path / "a") == TEXT
    assert "correct horse" not in (tmp_path / private.VAULT).read_text()
    (tmp_path / "words").write_text("wrong horse\n")
    monkeypatch.setenv(vault.VARIABLE, f"passphrase:{tmp_path / 'words'}")
    forget()
    with pytest.raises(NoKey, match="a passphrase that does not fit") as told:
        storage.read_text(tmp_path / "a")
    assert "horse" not in str(told.value)


def test_an_identity_is_written_as_age_writes_it() -> None:
    # of the right form for age, and the same each time
    first = passphrases.identity("correct horse", b"salt", cost=2**10)
    assert str(x25519.Identity.from_str(first)) == first == passphrases.identity("correct horse", b"salt", cost=2**10)
    assert first != passphrases.identity("correct horse", b"tlas", cost=2**10)
    assert passphrases.bech32("a", b"") == "a12uel5l"  # BIP 173


def test_nobody_at_the_keyboard_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="nobody is at the keyboard"):
        vault.begin(tmp_path, Key("ask", is_passphrase=True), complete=True)


def test_a_secret_in_the_place_of_a_file_name_is_not_repeated(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NoKey) as told:
        vault.begin(tmp_path, Key("hunter2", is_passphrase=True), complete=True)
    assert "hunter2" not in str(told.value)
    secret = (tmp_path / "own.key").read_text().splitlines()[-1]
    with pytest.raises(RunError, match="the key itself") as refused:
        vaults.lock(home, key=secret)
    assert secret not in str(refused.value)


def test_the_key_is_changed_without_touching_other_files(home: Path, tmp_path: Path) -> None:
    storage.write_text(home / "a", TEXT)
    before = (home / "a").read_bytes()
    vault.new_key(tmp_path / "next.key")
    vault.change_key(home, Key(str(tmp_path / "next.key")))
    (tmp_path / "own.key").unlink()
    forget()
    assert storage.read_text(home / "a") == TEXT and (home / "a").read_bytes() == before

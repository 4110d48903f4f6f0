"""Logs answered requests: an answer is taken in at its end without waiting, scrubbed and written a moment later.

What is not written yet is in memory alone. Where more comes than can be written it is left out, counted and told.
"""

from __future__ import annotations

import logging
import math
import queue
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import private, storage
from tunewright.core.errors import TunewrightError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import DataOptions
from tunewright.core.spans import DAY_SECONDS
from tunewright.core.traffic import Exchanged
from tunewright.privacy import scrub, vault
from tunewright.privacy.deletion import leaves
from tunewright.privacy.vault import Key
from tunewright.server.caller import Caller
from tunewright.server.protocol import ChatRequest, CompletionRequest, conversation
from tunewright.stages.scrubbed_rows import RowScrubber
from tunewright.workspace import traffic
from tunewright.workspace.place import Workspace

if TYPE_CHECKING:
    from tunewright.server.exchange import Exchange

log = logging.getLogger("tunewright.server")

SECONDS = 1.0  # what a killed server loses of its log
MOST_WAITING = 10_000  # answers that wait to be written
MOST_WAITING_CHARACTERS = 2**26
MOST_KEPT_CHARACTERS = 200_000  # of longer requests no texts are kept: scrubbing them would take the answers' time
AT_ONCE = 64  # answers in a transaction
EXPIRE_SECONDS = 60.0
USERS = ("user", "user_id")  # keys of metadata that name whose request it is


@dataclass(frozen=True)
class _Waiting:
    """An answer as it was given, not scrubbed yet. labels: those that its release chooses from."""

    exchanged: Exchanged
    labels: Sequence[str]
    users: tuple[str, ...]
    size: int


class Recorder:
    """What logs a workspace's answers, and lets them go when their days are over. Threads may share it."""

    def __init__(self, place: Workspace) -> None:
        """Raises NoKey where answers are to be logged and the key for them is not there."""
        self.place = place
        self.options = place.config.traffic
        if self.options.log:
            open_vault(place)
        scrubbing = self.options.scrubbing
        self._data = DataOptions(sources=["traffic"], scrub=scrubbing)
        self._scrub_key, self._find = scrub.the_key(scrubbing.key), scrub.recognizer(scrubbing)
        self._waiting: queue.Queue[_Waiting] = queue.Queue(MOST_WAITING)
        self._characters = 0  # of what waits
        self._dropped = 0
        self._guard = threading.Lock()  # of the two above
        self._batch: list[traffic.Entry] = []
        self._writing = threading.Lock()
        self._expired = 0.0
        self._uncleared = True  # whether the database's log may hold what was deleted

    # --- on the event loop ---

    def watch(self, begun: Exchange, caller: Caller, *, arrived: float) -> None:
        """Log an answer when it is over, if its model is one of those that are, unless a job of this server asked.
        arrived: by the monotonic clock.
        """
        if not caller.of_job and self.options.wants(begun.asked.model, begun.served.name):
            begun.told.append(partial(self._take, caller=caller, arrived=arrived))

    def _take(self, ended: Exchange, *, caller: Caller, arrived: float) -> None:
        try:
            self._put(_taken(ended, caller, arrived, with_texts=self._is_sampled(ended)))
        except Exception:  # an answer never fails for its log
            log.exception("an answer could not be logged")

    def _is_sampled(self, ended: Exchange) -> bool:
        # by its id, which is drawn at random
        return ended.asked.store is not False and int(ended.head.id[:8], 16) < self.options.sample * 2**32

    def _put(self, one: _Waiting) -> None:
        with self._guard:
            if self._characters + one.size > MOST_WAITING_CHARACTERS or self._waiting.full():
                self._dropped += 1
                return
            self._characters += one.size
            self._waiting.put_nowait(one)

    # --- in threads ---

    def write(self) -> None:
        """Write what waits, and delete what is too old."""
        with self._writing:
            while self._next_batch() or self._dropped:
                dropped = self._dropped
                traffic.write(self.place, self._batch, dropped=dropped)
                self._batch = []
                with self._guard:
                    self._dropped -= dropped
                if dropped:
                    log.warning("%d answers were not logged: more came than could be written", dropped)
            self._expire()

    def scrubbed(self, messages: Sequence[dict[str, Any]], labels: Sequence[str] = ()) -> list[dict[str, Any]] | None:
        """Messages without personal data, labels left as they are; None where they may not be kept at all."""
        done = self._scrubber()(_row([Message(**message) for message in messages], labels))
        return None if done is None else [message.for_template() for message in done.messages]

    def _next_batch(self) -> bool:
        """Whether there is something to write; what an earlier try could not write comes first."""
        scrubber = self._scrubber()
        while len(self._batch) < AT_ONCE:
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                break
            with self._guard:
                self._characters -= one.size
            people = tuple(traffic.person(self._people, name) for name in one.users)
            self._batch.append(traffic.Entry(_clean(one, scrubber), people))
        return bool(self._batch)

    def _expire(self) -> None:
        now = time.monotonic()
        if self._expired and now - self._expired < EXPIRE_SECONDS:
            return
        self._expired = now
        gone = traffic.forget(self.place, before=time.time() - self.options.keep_days * DAY_SECONDS)
        self._uncleared = self._uncleared or bool(gone)
        if self._uncleared:
            self._uncleared = not self.place.database.clear_log()

    def _scrubber(self) -> RowScrubber:
        # a new one each time: it remembers what it replaced
        return RowScrubber(self._data, key=self._scrub_key, find=self._find)

    @cached_property
    def _people(self) -> bytes:
        return traffic.people_key(self.place)


def open_vault(place: Workspace) -> None:
    """Make the private folder whose key seals texts, where there is none, and open it. Raises NoKey."""
    folder = traffic.folder(place)
    key = _key(place)
    if not (folder / private.VAULT).exists():
        folder.mkdir(exist_ok=True)
        if key is None:
            key = Key(str(place.state / "traffic.key"))
            if not Path(key.where).exists():
                vault.new_key(Path(key.where))
        vault.begin(folder, key, complete=True)
    elif key is not None:
        vault.use(folder, key)
    vault.opened(folder)
    if not (folder / traffic.PEOPLE).exists():
        storage.write_bytes(folder / traffic.PEOPLE, secrets.token_bytes(32))


def _key(place: Workspace) -> Key | None:
    """Where the key is that workspace.yaml names; relative paths are relative to the workspace."""
    named = place.config.traffic.vault
    if named is None:
        return None
    where = named.key or named.passphrase or ""
    if where != vault.ASK and not where.startswith("env:"):
        where = str(place.folder / Path(where).expanduser())
    return Key(where, is_passphrase=named.passphrase is not None)


# --- from an ended exchange to what is logged ---


def _taken(ended: Exchange, caller: Caller, arrived: float, *, with_texts: bool) -> _Waiting:
    asked, first = ended.asked, ended.heard[0]
    assert isinstance(asked, ChatRequest | CompletionRequest)
    said = _said(asked) if with_texts else None
    metadata = asked.metadata or {}
    users = [asked.user, asked.safety_identifier, *(metadata.get(key) for key in USERS)]
    size = sum(map(len, leaves(said or []))) + len(first.text)
    if said is not None and size > MOST_KEPT_CHARACTERS:
        said, size = None, 0
    exchanged = Exchanged(
        id=ended.head.answer_id,
        created=float(ended.head.created),
        project=caller.project,
        key_id=caller.key_id,
        model=asked.model,
        release=ended.served.name,
        fingerprint=ended.served.fingerprint,
        seconds=time.monotonic() - arrived,
        first_token_seconds=None if ended.first is None else ended.first - arrived,
        prompt_tokens=ended.account.prompt_tokens,
        completion_tokens=ended.job.num_tokens,
        finish=_finish(ended),
        confidence=_confidence(ended),
        messages=said,
        tools=asked.offered if said is not None and isinstance(asked, ChatRequest) else None,
        answer=first.text if said is not None else None,
        notes={key: value for key, value in metadata.items() if key not in USERS},
    )
    return _Waiting(exchanged, ended.served.decode.labels, tuple(dict.fromkeys(filter(None, users))), size)


def _said(asked: ChatRequest | CompletionRequest) -> list[dict[str, Any]] | None:
    """What was asked as messages; None for token ids and for several prompts at once."""
    if isinstance(asked, ChatRequest):
        return asked.messages
    prompt = asked.prompt[0] if isinstance(asked.prompt, list) and len(asked.prompt) == 1 else asked.prompt
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else None


def _finish(ended: Exchange) -> str:
    if ended.failed:
        return "error"
    return ended.heard[0].finish if all(one.finish for one in ended.heard) else "cut"


def _confidence(ended: Exchange) -> float | None:
    """How probable the first answer was: among the labels, or by the log-probs of its tokens."""
    first = ended.heard[0]
    if first.confidence is not None or not first.tokens or not first.finish:
        return first.confidence
    return math.exp(sum(token.logprob for token in first.tokens))


def _clean(one: _Waiting, scrubber: RowScrubber) -> Exchanged:
    """An answer without personal data; without texts where they could not be scrubbed, or must be dropped."""
    raw = one.exchanged
    without = replace(raw, messages=None, tools=None, answer=None, notes={})
    messages = [] if raw.messages is None else [*conversation(raw.messages), _answered(raw.answer or "")]
    try:
        row = _row([Message(**m) for m in messages], one.labels, tools=raw.tools or [], notes=raw.notes)
        done = scrubber(row)
    except (TunewrightError, ValueError):
        log.exception("the texts of an answer could not be scrubbed, so they are not kept")
        return without
    if done is None:
        return without
    notes = done.meta.get("notes", {})
    if raw.messages is None:
        return replace(without, notes=notes)
    *asked, answer = done.messages
    tools = done.meta.get("tools") or None
    said = [message.for_template() for message in asked]
    return replace(raw, messages=said, tools=tools, answer=answer.content, notes=notes)


def _answered(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _row(messages: list[Message], labels: Sequence[str], **meta: Any) -> Example:
    """What the scrubber takes: an answer that is one of the labels is the row's, and stays."""
    label = messages[-1].content if messages and messages[-1].content in labels else None
    return Example(id="traffic", messages=messages, label=label, meta=meta)

"""One turn of an eval's run: its rows are read, or some of them are answered and graded, or it is over."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import wait
from typing import Any, TypeVar

from tunewright.core import openai_graders
from tunewright.core.errors import DataError, EndpointError, Stopped, TunewrightError
from tunewright.core.openai_graders import AnyGrader, PythonSource, ScoreModel, TextSimilarity
from tunewright.core.parts import Desk
from tunewright.graders._openai_values import Outcome, sample_of
from tunewright.server import eval_rows, exchange, grading
from tunewright.server.caller import Caller
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError, ChatRequest, conversation, parse
from tunewright.server.wire.evals import DataSource, sample_object, usage_object
from tunewright.server.worker import Writing
from tunewright.workspace import evals, files
from tunewright.workspace.evals import Graded, Usage
from tunewright.workspace.tables import Eval, EvalItem, EvalRun

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")

_POLL_SECONDS = 0.1  # between looks whether to stop


class Paused(Exception):
    """The run cannot go on for now. seconds: when it may. wasted: models graded rows, and will have to again."""

    def __init__(self, seconds: float, *, wasted: bool = False) -> None:
        super().__init__()
        self.seconds, self.wasted = seconds, wasted


class Step:
    """One turn of a run: its rows are read, or some of them are answered and graded, or it is over."""

    def __init__(
        self,
        front: Front,
        loop: asyncio.AbstractEventLoop,
        run: EvalRun,
        held: Eval,
        *,
        rows: int,
        stop: threading.Event,
    ) -> None:
        """loop: where models are asked. held: the eval. rows: how many at once. stop: when set, the run is given up.
        Raises DataError where the key that made the run opens no more.
        """
        self.front, self.loop, self.run, self.held, self.rows, self.stop = front, loop, run, held, rows, stop
        self.database = front.place.database
        self.source = DataSource.model_validate(run.source)
        caller = front.keyring.owner(run.key_id, run.project)
        if caller is None:
            raise DataError("The key that made the run opens no more. Make another run with a key that does.")
        self.caller: Caller = caller
        self.pause: float | None = None

    def go(self) -> None:
        """Do it. Raises Paused, Stopped, and TunewrightError where the run has failed."""
        if self.run.status == "queued":
            self._begin()
            return
        with self.database.reading() as session:
            items = evals.open_items(session, self.run.id, limit=self.rows)
        if not items:
            with self.database.writing() as session:
                evals.move(session, self.run.id, to="completed")
            return
        waiting = [item for item in items if item.status == "waiting"]
        if self.source.type == "jsonl":
            self._take_given(waiting)
        else:
            self._on_loop(self._answers(waiting))
        self._grade([item for item in items if item.sample is not None])
        if self.pause is not None:
            raise Paused(self.pause)

    def _begin(self) -> None:
        file_id, path = self.source.source.id, None
        if file_id is not None:
            with self.database.reading() as session:
                if files.find(session, file_id, project=self.run.project) is None:
                    raise DataError(f"The file {file_id} is not there any more. Upload it again; make another run.")
            path = self.front.place.files / file_id
        schema = self.held.config["item_schema"]
        rows = eval_rows.read(self.source, file=path, schema=schema, going=lambda: not self.stop.is_set())
        self._poll()
        with self.database.writing() as session:
            evals.begin(session, self.run.id, rows)

    def _poll(self, *_: Any) -> None:
        if self.stop.is_set():
            raise Stopped("The run was given up.")

    def _on_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of what runs on the event loop. Raises Stopped."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        while not wait([future], timeout=_POLL_SECONDS).done:
            if self.stop.is_set():
                future.cancel()
                raise Stopped("The run was given up.")
        return future.result()

    # --- answers ---

    def _take_given(self, items: Sequence[EvalItem]) -> None:
        """The answers that rows bring."""
        with self.database.writing() as session:
            for item in items:
                item.sample = _given(item.given or {})
                evals.keep_answer(session, self.run.id, item.number, item.sample)

    async def _answers(self, items: Sequence[EvalItem]) -> None:
        await asyncio.gather(*(self._answer(item) for item in items))

    async def _answer(self, item: EvalItem) -> None:
        """Ask for one row, and put down what was said; of one that is refused for now nothing."""
        try:
            sample = await self._said(item)
        except ApiError as error:
            if error.again is not None:
                self.pause = max(self.pause or 0.0, error.again)
                return
            told = error.body["error"]
            sample = self._failed(str(told["code"] or told["type"]), str(error))
        except TunewrightError as error:
            sample = self._failed("invalid_row", str(error))
        except Exception:
            log.exception("row %s of run %s failed", item.place, self.run.id)
            sample = self._failed("server_error", "The server failed at this row; its log says why.")
        item.sample = sample
        await asyncio.to_thread(self._keep_answer, item.number, sample)

    def _keep_answer(self, number: int, sample: dict[str, Any]) -> None:
        with self.database.writing() as session:
            evals.keep_answer(session, self.run.id, number, sample)

    async def _said(self, item: EvalItem) -> dict[str, Any]:
        given = eval_rows.messages(self.source, item.item)
        asked = {**self.source.options(), "messages": given, "seed": self.run.seed}
        checked = parse(ChatRequest, json.dumps(asked).encode())
        self.caller.budget.count_request()
        begun = await exchange.begin(self.front.models, checked, caller=self.caller)
        try:
            body = await exchange.whole(begun)
        finally:
            begun.close()
        choice, account, work = body["choices"][0], begun.account, begun.job.work
        message = {name: value for name, value in choice["message"].items() if value is not None}
        how = {"temperature": 0.0, "top_p": 1.0, "max_completion_tokens": account.completion_tokens}
        if isinstance(work, Writing):
            request = work.requests[0]
            how = {"temperature": request.temperature, "top_p": request.top_p}
            how["max_completion_tokens"] = request.max_new_tokens
        return sample_object(
            conversation(given),
            model=body["model"],
            output=[message],
            finish_reason=choice["finish_reason"],
            usage=usage_object(account.prompt_tokens, account.completion_tokens, account.cached_tokens),
            seed=self.run.seed,
            **how,
        )

    def _failed(self, code: str, message: str) -> dict[str, Any]:
        error = {"code": code, "message": message}
        return sample_object([], model=self.run.model, error=error, finish_reason="error", seed=self.run.seed)

    # --- grades ---

    def _grade(self, items: Sequence[EvalItem]) -> None:
        """Put down what the criteria say of answered rows. Raises Paused."""
        if not items:
            return
        asking = grading.Asking(self.front, self.caller, self.loop, self.stop)
        results = self._results([item for item in items if not _sample(item)["error"]], asking)
        numbers = [item.number for item in items]
        graded = [Graded(number, _status(results.get(number)), results.get(number, [])) for number in numbers]
        usage = {name: [asking.asked[name], sent, 0, said] for name, (sent, said) in asking.used.items()}
        for item in items if self.run.model else ():
            if not _sample(item)["error"]:
                _add(usage, self.run.model, _sample(item)["usage"])
        self._poll()
        with self.database.writing() as session:
            evals.keep_results(session, self.run.id, graded, usage)

    def _results(self, items: Sequence[EvalItem], asking: grading.Asking) -> dict[int, list[dict[str, Any]]]:
        """By the item's number: what each criterion says. Raises Paused, Stopped."""
        brought = self.source.type == "jsonl"
        values = [
            {"item": item.item, "sample": item.given or {} if brought else _sample_of(_sample(item))} for item in items
        ]
        results: dict[int, list[dict[str, Any]]] = {item.number: [] for item in items}
        for given in self.held.criteria:
            grader, part = openai_graders.read(given), grading.part_of(self.front, given)
            desk = Desk(ask=asking, poll=self._poll)
            for item, found in zip(items, self._outcomes(part.outcomes, values, desk, asking), strict=True):
                results[item.number].append(_result(grader, found))
        return results

    def _outcomes(
        self, outcomes: Any, rows: Sequence[dict[str, Any]], desk: Desk, asking: grading.Asking
    ) -> list[Outcome]:
        """One a row; where a model refuses one, the others still have theirs. Raises Paused."""
        try:
            return list(outcomes(rows, desk)) if rows else []
        except EndpointError as error:
            if asking.again is not None:
                raise Paused(asking.again, wasted=True) from None
            if len(rows) == 1:
                return [Outcome(None, str(error), "model_grader_server_error")]
            return [one for row in rows for one in self._outcomes(outcomes, [row], desk, asking)]


def _sample(item: EvalItem) -> dict[str, Any]:
    assert item.sample is not None, "only rows with an answer are graded"
    return item.sample


def _add(usage: Usage, model: str, told: dict[str, int]) -> None:
    counts = [1, told["prompt_tokens"], told["cached_tokens"], told["completion_tokens"]]
    usage[model] = [sum(pair) for pair in zip(usage.get(model, [0, 0, 0, 0]), counts, strict=True)]


def _given(sample: dict[str, Any]) -> dict[str, Any]:
    """An answer that a row brings, as output items show it."""
    text = sample.get("output_text")
    output = [{"role": "assistant", "content": text}] if isinstance(text, str) else []
    model = sample.get("model")
    return sample_object([], model=model if isinstance(model, str) else "", output=output)


def _sample_of(sample: dict[str, Any]) -> dict[str, Any]:
    """A model's answer as graders see it; its calls of tools stand in choices[0].message."""
    if not sample["output"]:
        return {}
    message = sample["output"][0]
    choice = {"message": message, "finish_reason": sample["finish_reason"]}
    return sample_of(message.get("content") or "") | {"choices": [choice], "model": sample["model"]}


def _result(grader: AnyGrader, found: Outcome) -> dict[str, Any]:
    value = found.value
    told = {"name": grader.name, "type": grader.type, "score": value or 0.0, "passed": False, "sample": None}
    if value is None:
        told["error"] = {"code": found.error, "message": found.why}
        return told
    return told | {"passed": value >= threshold(grader) - 1e-9, "tunewright": {"why": found.why}}


def threshold(grader: AnyGrader) -> float:
    """The value from which a row passes: the grader's own, else the middle of what it can give."""
    if isinstance(grader, TextSimilarity | PythonSource | ScoreModel) and grader.pass_threshold is not None:
        return grader.pass_threshold
    return sum(grader.range) / 2 if isinstance(grader, ScoreModel) else 0.5


def _status(results: list[dict[str, Any]] | None) -> str:
    if results is None or any("error" in one for one in results):
        return "error"
    return "pass" if all(one["passed"] for one in results) else "fail"

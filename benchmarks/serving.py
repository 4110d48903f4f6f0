"""Measures `tunewright serve` over nano through HTTP with the official client, and writes the figures as JSON.

    python benchmarks/serving.py                        many chats at once, kept beginnings, four adapters
    python benchmarks/serving.py --only chats --rounds 5
    python benchmarks/serving.py --soak --minutes 20    80 % of capacity with reloads: lost and mixed answers, memory
    python benchmarks/serving.py --docs                 puts the figures into docs/performance.md

Client and server share the machine, as they do on a developer's; it must be otherwise idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import page
from bench import RESULTS, machine
from openai import AsyncOpenAI
from serving_load import RUNS, Reply, Server, chat, make_runs, question, release, said, served, together

from tunewright.models.hardware import serving_threads

AT_ONCE = 16
TOKENS = 64  # of an answer
SYSTEM_WORDS = 600
TURNS = 6
ADAPTER_TOKENS = 24  # short, so that the last bits of a sum decide no word
LOAD = 0.8  # of capacity, in a soak
CAPACITY_SECONDS = 30.0  # over which capacity is measured
RELOAD_SECONDS = 5.0  # so that all the adapters that are kept in memory have come before half of 20 minutes
FOUND_SECONDS = 30.0  # until the server must have found a release
LOOK_SECONDS = 5.0  # between two looks at memory
MOST_OPEN = 256  # requests of a soak in flight; more would be turned away
Case = Callable[[AsyncOpenAI, int], Awaitable[dict[str, Any]]]
Ask = Callable[[], Awaitable[Reply]]


def share(values: list[float], at: float) -> float:
    """The quantile of some values, the larger of two neighbours."""
    return sorted(values)[min(len(values) - 1, int(at * len(values)))]


def speed(replies: list[Reply], seconds: float) -> float:
    """Tokens a second of all together."""
    return sum(reply.tokens for reply in replies) / seconds


async def timed(asks: list[Ask], *, at_once: int) -> tuple[list[Reply], float]:
    """The answers, and how long all took."""
    began = time.perf_counter()
    replies = await together(asks, at_once=at_once)
    return replies, time.perf_counter() - began


async def chats(client: AsyncOpenAI, rounds: int) -> dict[str, Any]:
    """The same number of chats one at a time and 16 at once, in turns."""
    draw = random.Random(1)

    def asks() -> list[Ask]:
        return [partial(chat, client, "red", said(question(draw)), tokens=TOKENS) for _ in range(AT_ONCE)]

    await timed(asks(), at_once=AT_ONCE)
    one, many, all_ = [], [], []
    for _ in range(rounds):
        one.append(speed(*await timed(asks(), at_once=1)))
        replies, seconds = await timed([ask for _ in range(4) for ask in asks()], at_once=AT_ONCE)
        many.append(speed(replies, seconds))
        all_ += replies
    return {
        "tokens_per_second_one": statistics.median(one),
        "tokens_per_second_many": statistics.median(many),
        "times_as_fast": statistics.median(b / a for a, b in zip(one, many, strict=True)),
        "first_token_p50": share([reply.first for reply in all_], 0.5),
        "first_token_p99": share([reply.first for reply in all_], 0.99),
        "longest_gap_p99": share([reply.gap for reply in all_], 0.99),
    }


async def beginnings(client: AsyncOpenAI, rounds: int) -> dict[str, Any]:
    """Conversations under one long system prompt: what the very first, a first and a later turn waits for."""
    draw = random.Random(2)
    await chat(client, "red", said(question(draw)), tokens=4)
    cold, shared, later = [], [], []
    cached = 0
    for _ in range(rounds):
        system = question(draw, SYSTEM_WORDS)  # new to the server, then shared
        for number in range(3):
            talk = said(question(draw), system)
            for turn in range(TURNS):
                reply = await chat(client, "red", talk, tokens=16)
                (later if turn else shared if number else cold).append(reply.first)
                cached += reply.cached
                talk = [*talk, {"role": "assistant", "content": reply.text}, *said(question(draw))]
    return {
        "cold_seconds": statistics.median(cold),
        "shared_system_seconds": statistics.median(shared),
        "next_turn_seconds": statistics.median(later),
        "cached_tokens": cached,
    }


async def adapters(client: AsyncOpenAI, rounds: int) -> dict[str, Any]:
    """16 chats over four adapters against 16 over one; each answer must be what its adapter says alone."""
    draw = random.Random(3)
    asked = [(RUNS[number % len(RUNS)], said(question(draw))) for number in range(AT_ONCE)]
    mixed: list[Ask] = [partial(chat, client, run, talk, tokens=ADAPTER_TOKENS) for run, talk in asked]
    one: list[Ask] = [partial(chat, client, RUNS[0], talk, tokens=ADAPTER_TOKENS) for _, talk in asked]
    alone, _ = await timed(mixed, at_once=1)
    speeds: dict[str, list[float]] = {"mixed": [], "one": []}
    wrong = 0
    for _ in range(rounds):
        for name, asks in (("mixed", mixed), ("one", one)):
            replies, seconds = await timed(asks * 4, at_once=AT_ONCE)
            speeds[name].append(speed(replies, seconds))
            if name == "mixed":
                wrong += sum(a.text != b.text for a, b in zip(replies, alone * 4, strict=True))
    return {
        "tokens_per_second_mixed": statistics.median(speeds["mixed"]),
        "tokens_per_second_one_adapter": statistics.median(speeds["one"]),
        "answers": 4 * AT_ONCE * rounds,
        "wrong_answers": wrong,
    }


class Soak:
    """Requests at 80 % of capacity, as they come (Poisson), while an adapter is deployed anew every few seconds."""

    def __init__(self, server: Server, client: AsyncOpenAI, folder: Path) -> None:
        self.server, self.client, self.folder = server, client, folder
        self.draw = random.Random(4)
        self.talks = [said(question(self.draw)) for _ in range(8)]
        self.right: dict[tuple[str, int, int], str] = {}  # run, version and question -> the answer
        self.version_of = {f"{run}:001": 0 for run in RUNS}
        self.counts = {"answered": 0, "lost": 0, "mixed": 0}
        self.firsts: list[float] = []
        self.errors: list[str] = []
        self.seen: set[str] = set()

    def ask(self, run: str, number: int) -> Awaitable[Reply]:
        """One question."""
        return chat(self.client, run, self.talks[number], tokens=ADAPTER_TOKENS)

    def drawn(self) -> tuple[str, int]:
        """A run and a question."""
        return self.draw.choice(RUNS), self.draw.randrange(len(self.talks))

    async def reload(self, version: int) -> None:
        """Deploy the reloaded run with the weights of a version; its release may answer from now on."""
        number = 1 + sum(name.startswith(f"{RUNS[0]}:") for name in self.version_of)
        self.version_of[f"{RUNS[0]}:{number:03d}"] = version
        await asyncio.to_thread(release, self.folder, RUNS[0], version=version)

    async def learn(self) -> None:
        """What each version says to each question, asked one at a time."""
        for version in (0, 1):
            if version:
                await self.reload(version)
                until = time.monotonic() + FOUND_SECONDS
                while self.version_of[(await self.ask(RUNS[0], 0)).model] != version and time.monotonic() < until:
                    await asyncio.sleep(0.2)
            for run in RUNS if not version else RUNS[:1]:
                for number in range(len(self.talks)):
                    reply = await self.ask(run, number)
                    assert self.version_of[reply.model] == version, reply.model
                    self.right[run, version, number] = reply.text

    async def capacity(self) -> float:
        """Requests a second with 16 in flight, reloads among them."""
        done, began = 0, time.monotonic()

        async def client() -> None:
            nonlocal done
            while time.monotonic() < began + CAPACITY_SECONDS:
                await self.ask(*self.drawn())
                done += 1

        async def reloads() -> None:
            for number in range(int(CAPACITY_SECONDS / RELOAD_SECONDS)):
                await self.reload(number % 2)
                await asyncio.sleep(RELOAD_SECONDS)

        await asyncio.gather(reloads(), *(client() for _ in range(AT_ONCE)))
        return done / (time.monotonic() - began)

    async def request(self) -> None:
        """One request of the load, and whether its answer is one version's."""
        run, number = self.drawn()
        try:
            reply = await self.ask(run, number)
        except Exception as error:  # whatever it is, an answer was lost
            self.counts["lost"] += 1
            self.errors.append(repr(error)[:200])
            return
        self.counts["answered"] += 1
        self.counts["mixed"] += reply.text != self.right[run, self.version_of[reply.model], number]
        self.seen.add(reply.model)
        self.firsts.append(reply.first)

    async def go(self, minutes: float) -> dict[str, Any]:
        """The load, for so long."""
        await self.learn()
        rate = LOAD * await self.capacity()
        memory: list[tuple[float, int]] = []
        open_: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        reload_at, look_at, due, version = began + RELOAD_SECONDS, began, began, 1
        while (now := time.monotonic()) < began + 60 * minutes:
            if now >= look_at:
                memory.append((now - began, self.server.memory()))
                look_at += LOOK_SECONDS
            if now >= reload_at:
                version = 1 - version
                await self.reload(version)
                reload_at += RELOAD_SECONDS
            if now >= due and len(open_) < MOST_OPEN:
                task = asyncio.create_task(self.request())
                open_.add(task)
                task.add_done_callback(open_.discard)
                due += self.draw.expovariate(rate)
            await asyncio.sleep(max(0.001, min(due, reload_at, look_at) - time.monotonic()))
        await asyncio.gather(*open_)
        return {
            "minutes": minutes,
            "requests_per_second": rate,
            **self.counts,
            "versions_seen": len([name for name in self.seen if name.startswith(f"{RUNS[0]}:")]),
            "errors": self.errors[:5],
            "first_token_p50": share(self.firsts, 0.5),
            "first_token_p99": share(self.firsts, 0.99),
            **growth(memory),
        }


async def soaked(server: Server, folder: Path, minutes: float) -> dict[str, Any]:
    """The soak, with a client of its own."""
    async with server.client() as client:
        return await Soak(server, client, folder).go(minutes)


def growth(memory: list[tuple[float, int]]) -> dict[str, Any]:
    """How memory grew in the second half of the time, when caches are full: a line through it."""
    later = memory[len(memory) // 2 :]
    at, held = [time_ for time_, _ in later], [bytes_ / 2**20 for _, bytes_ in later]
    by_minute = [round(bytes_ / 2**20) for _, bytes_ in memory[:: round(60 / LOOK_SECONDS)]]
    slope = statistics.linear_regression(at, held).slope if len(later) > 1 else 0.0
    return {
        "memory_mib": held[-1],
        "memory_mib_an_hour": slope * 3600,
        "memory_mib_most": max(held),
        "by_minute": by_minute,
    }


async def asked(server: Server, case: Case, rounds: int) -> dict[str, Any]:
    """One case, with a client of its own."""
    async with server.client() as client:
        return await case(client, rounds)


CASES: dict[str, Case] = {"chats": chats, "prefix": beginnings, "adapters": adapters}


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures of the cases asked for."""
    found: dict[str, Any] = {}
    for name in options.only:
        with served(folder, threads=options.threads) as server:
            found[name] = asyncio.run(asked(server, CASES[name], options.rounds))
        if name == "prefix":
            with served(folder, threads=options.threads, options=["--prefix-bytes", "0"]) as server:
                found["no-prefix"] = asyncio.run(asked(server, beginnings, options.rounds))
        print(
            json.dumps({name: found[name], **({"without": found["no-prefix"]} if name == "prefix" else {})}), flush=True
        )
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=serving_threads(), help="of the server's sums")
    parser.add_argument("--soak", action="store_true", help="only the soak")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the soak takes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the figures")
    parser.add_argument("--docs", action="store_true", help="put all figures of that folder into docs/performance.md")
    options = parser.parse_args()
    about = machine(options.threads)
    with tempfile.TemporaryDirectory(prefix="tunewright-serving-") as name:
        folder = Path(name)
        make_runs(folder)
        if options.soak:
            with served(folder, threads=options.threads) as server:
                found = asyncio.run(soaked(server, folder, options.minutes))
            print(json.dumps(found, indent=2))
        else:
            found = measured(options, folder)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / ("soak.json" if options.soak else "serving.json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not options.soak else {}
    path.write_text(json.dumps({**before, "machine": about, **found}, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        page.fill(options.out)


if __name__ == "__main__":
    main()

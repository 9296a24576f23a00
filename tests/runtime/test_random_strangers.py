"""Random requests, of which half bring code that raises, hangs for a while, or is left alone: the
others get what they get without them, token by token.

    EDGEREASON_STRANGERS=10000 pytest tests/runtime/test_random_strangers.py

On the scripted engine, where an answer depends on its prompt alone. Each kind of trouble by itself
is in `test_strangers.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from edgereason import Channel, Reasoner
from edgereason.records import Answer, Chunk, Sampling
from edgereason.runtime.reasoner import Handle
from edgereason.runtime.trace import Event
from edgereason.strategies import base, no_think, think
from edgereason.strategies.base import Steps, Turn
from support.places import SCRIPTED

NUM: Final = int(os.environ.get("EDGEREASON_STRANGERS", "400"))
QUESTIONS: Final = 40
SIDE_BY_SIDE: Final = 48
SLOW_S: Final = 0.05
WORD: Final = "sesame"
WATCHED: Final = f"Open {WORD}."  # a thought that the monitor raises on
ERRORS: Final = (
    *(ValueError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration),
    *(asyncio.CancelledError, RecursionError),
)
# What a request may bring: what ends it, and what leaves it its answer.
ENDS: Final = ("chunk", "sink", "begins", "strategy", "close", "child", "no phase", "monitor")
LASTS: Final = ("last chunk", "slow chunk", "slow sink", "slow strategy", "future", "unread")
IN_STRATEGY: Final = ("begins", "strategy", "close", "child", "no phase", "slow strategy")


@dataclass(frozen=True)
class Asked:
    number: int
    question: str
    keywords: dict[str, Any]
    streams: bool
    trouble: str = ""
    error: type[BaseException] = ValueError
    at: int = 0  # how often it goes well before

    def fail(self) -> None:
        raise self.error(f"stranger {self.number}")


def draw(num: int, seed: int) -> list[Asked]:
    chance = random.Random(seed)
    found = []
    for number in range(num):
        trouble = chance.choice((*ENDS, *LASTS, "cancel")) if chance.random() < 0.5 else ""
        strategy = chance.choice(("think", "no-think", "vote", "budget-forcing"))
        if trouble in IN_STRATEGY:
            strategy = chance.choice(("think", "no-think"))
        if trouble == "monitor":
            strategy = "think"
        what = WORD if trouble == "monitor" else f"number {chance.randrange(QUESTIONS)}"
        mark = f"[{number}] " if trouble in IN_STRATEGY else ""
        keywords: dict[str, Any] = {
            "strategy": strategy,
            "priority": chance.randrange(-2, 3),
            "think_budget": chance.choice((10, 25, 60)),
            "answer_budget": chance.choice((2, 8, 30)),
            "sampling": Sampling(temperature=chance.choice((0, 0.7)), seed=chance.randrange(1000)),
        }
        if strategy == "vote":
            keywords["options"] = {"samples": chance.randint(2, 4), "early_stop": False}
        streams = trouble == "unread" or (not trouble and chance.random() < 0.4)
        error, at = chance.choice(ERRORS), chance.choice((0, 0, 1, 3))
        asked = Asked(number, f"{mark}What about {what}?", keywords, streams, trouble, error, at)
        found.append(asked)
    return found


@dataclass
class Strangers:
    """All that is not ours, for the requests that are on their way."""

    asked: dict[int, Asked]
    here: threading.local = field(default_factory=threading.local)
    requests: dict[int, Asked] = field(default_factory=dict)  # by the number of their events
    raised: Counter[str] = field(default_factory=Counter)

    def misbehave(self, one: Asked) -> None:
        if "slow" in one.trouble:
            time.sleep(SLOW_S)
            return
        self.raised[one.trouble] += 1
        one.fail()

    def sink(self, event: Event) -> None:
        if event.kind == "request_start":  # on the thread of `submit`
            self.requests[event.request] = self.here.asked
        one = self.requests[event.request]
        kind = ("request_start", "phase_end", "", "request_end")[one.at]
        if one.trouble.endswith("sink") and event.kind == kind:
            self.misbehave(one)

    def monitor(self, thoughts: str) -> str:
        if WATCHED in thoughts:
            self.raised["monitor"] += 1
            raise SystemExit("the monitor")
        return ""

    def on_chunk(self, one: Asked) -> Any:
        seen: list[Chunk | None] = []

        def call(chunk: Chunk | None) -> None:
            seen.append(chunk)
            is_due = len(seen) == one.at + 1 or one.trouble != "slow chunk"
            is_last = chunk is None
            if is_due and len(seen) > one.at and is_last == (one.trouble == "last chunk"):
                self.misbehave(one)

        return call

    def run(self, usual: Any, turn: Turn, config: Any) -> Steps:
        """In place of a strategy's own `run`."""
        mark = re.match(r"\[(\d+)\] ", turn.messages[-1].content)
        if mark is None:
            return (yield from usual(turn, config))
        return (yield from self._strange(self.asked[int(mark[1])], usual, turn, config))

    def _strange(self, one: Asked, usual: Any, turn: Turn, config: Any) -> Steps:
        if one.trouble == "begins":
            self.misbehave(one)
        if one.trouble == "no phase":
            self.raised[one.trouble] += 1
            yield "no phase"  # type: ignore[misc]  # on purpose
        if one.trouble == "child":
            yield base.Fork(tuple(self._child(one, turn, index) for index in range(3)))
        try:
            answer: Answer = yield from usual(turn, config)
            if one.trouble in ("strategy", "slow strategy"):
                self.misbehave(one)
        finally:
            if one.trouble == "close":
                self.misbehave(one)
        return answer

    def _child(self, one: Asked, turn: Turn, index: int) -> Steps:
        done = yield turn.reseeded(index).direct()
        if index == one.at % 3:
            self.misbehave(one)
        return Answer(done.text)

    def submit(self, reasoner: Reasoner, one: Asked) -> Handle:
        self.here.asked = one
        chunks = one.trouble.endswith("chunk")
        on_chunk = self.on_chunk(one) if chunks else None
        handle = reasoner.submit(
            one.question, stream=one.streams, on_chunk=on_chunk, **one.keywords
        )
        if one.trouble == "future":
            handle.future.add_done_callback(lambda future: self.misbehave(one))
        if one.trouble == "cancel":
            handle.cancel()
        return handle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A script that foresees one thought. All else is noise that depends on every token before it:
    who gets another's tokens, or KV, answers something else.
    """
    folder = tmp_path_factory.mktemp("scripted")
    after = f"{WORD}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    rule = {"after": json.dumps(after), "reply": json.dumps(f"{WATCHED}\n</think>")}
    control = ["<|im_start|>", "<think>", "</think>"]
    text = f"control = {control}\nwords = ['{WORD}']\n[[rules]]\n"
    text += "".join(f"{key} = {value}\n" for key, value in rule.items())
    (folder / "script.toml").write_text(text)
    manifest = json.loads((Path(SCRIPTED) / "edgereason.json").read_text())
    manifest["files"] = [{"path": "script.toml", "size_bytes": len(text.encode())}]
    (folder / "edgereason.json").write_text(json.dumps(manifest))
    return str(folder)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


Outcome = dict[str, Any] | BaseException


def play(model: str, asked: list[Asked], strangers: Strangers) -> dict[int, Outcome]:
    """What became of each, some side by side."""
    outcomes: dict[int, Outcome] = {}
    running: deque[tuple[Asked, Handle]] = deque()

    def end(one: Asked, handle: Handle) -> None:
        error = handle.future.exception(60)
        outcomes[one.number] = error or told(one, handle)

    with pytest.MonkeyPatch.context() as patch:
        for module in (think, no_think):
            patch.setattr(module, "run", partial(strangers.run, module.run))
        hooks = {"trace": strangers.sink, "monitor": strangers.monitor}
        with Reasoner.open(model, context=1 << 16, sequences=64, **hooks) as reasoner:
            for one in asked:
                try:
                    running.append((one, strangers.submit(reasoner, one)))
                except BaseException as error:
                    outcomes[one.number] = error
                if len(running) == SIDE_BY_SIDE:
                    end(*running.popleft())
            for each in running:
                end(*each)
            check_nothing_is_left(reasoner)
    return outcomes


def check_nothing_is_left(reasoner: Reasoner) -> None:
    assert reasoner.wait_idle()
    until = time.monotonic() + 10
    while reasoner.stats()["num_free_cells"] < reasoner.engine.info["num_cells"]:
        assert time.monotonic() < until, reasoner.stats()
        time.sleep(0.01)
    assert not reasoner._driver._tickets
    assert not reasoner._driver._lines


def told(one: Asked, handle: Handle) -> dict[str, Any]:
    """All of an answer that does not depend on time, and its text as it was streamed."""
    answer = handle.result()
    found = answer.to_dict()
    kept = {key: found[key] for key in ("answer", "reasoning", "finish", "candidates")}
    tokens = [[(phase.reason, tuple(phase.tokens)) for phase in chain] for chain in handle.chains]
    streamed = {channel: "" for channel in Channel}
    for chunk in handle if one.streams and one.trouble != "unread" else ():
        streamed[chunk.channel] += chunk.text
    return {**kept, "tokens": tokens, "streamed": streamed}


def test_what_strangers_do_changes_nobody_elses_answer(model: str) -> None:
    asked = draw(NUM, seed=11)
    fine = [one for one in asked if not one.trouble]
    alone = play(model, fine, Strangers({}))
    strangers = Strangers({one.number: one for one in asked})
    beside = play(model, asked, strangers)
    assert len(beside) == NUM
    for one in fine:
        assert not isinstance(alone[one.number], BaseException), alone[one.number]
        assert beside[one.number] == alone[one.number], one
    for one in asked:
        outcome = beside[one.number]
        if one.trouble in LASTS:
            assert not isinstance(outcome, BaseException), (one, outcome)
        elif one.trouble in ENDS and isinstance(outcome, dict):
            # It had no occasion: too few pieces, no second phase.
            assert one.at > 0, one
    assert set(strangers.raised) >= set(ENDS) | {"last chunk", "future"}
    print(f"{len(fine)} of {NUM} bring nothing; the others raised", dict(strangers.raised))

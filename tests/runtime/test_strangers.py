"""Code that is not ours (callbacks, sinks, strategies, templates) holds and ends its own request.

All on the scripted engine. `nuisance` is the request that misbehaves; nobody else must notice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgereason import AsyncReasoner, Channel, EngineError, Reasoner, StopReason, UsageError
from edgereason.records import Answer, Chunk, Role
from edgereason.runtime.trace import Event
from edgereason.strategies import base, no_think
from edgereason.strategies.base import Steps, Turn
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"
NUISANCE = "Count to a thousand."  # is answered up to the budget
SLOW_S = 1.0

Raise = Callable[[], None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The examples' script, and a long reply."""
    folder = tmp_path_factory.mktemp("scripted")
    after = f"{NUISANCE}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    reply = " ".join(map(str, range(1, 1001)))
    rule = f"\n[[rules]]\nafter = {json.dumps(after)}\nreply = {json.dumps(reply)}\n"
    text = (Path(SCRIPTED) / "script.toml").read_text() + rule
    (folder / "script.toml").write_text(text)
    manifest = json.loads((Path(SCRIPTED) / "edgereason.json").read_text())
    manifest["files"] = [{"path": "script.toml", "size_bytes": len(text.encode())}]
    (folder / "edgereason.json").write_text(json.dumps(manifest))
    return str(folder)


@pytest.fixture
def reasoner(model: str) -> Iterator[Reasoner]:
    with Reasoner.open(model) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def check_works(reasoner: Reasoner) -> None:
    assert reasoner._driver._thread.is_alive()
    assert reasoner.submit(QUESTION, strategy="think").result(10).answer == "51"
    assert reasoner.wait_idle()


def takes(work: Callable[[], Any]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def only_nuisance(turn: Turn) -> bool:
    return turn.messages[-1].content == NUISANCE


@pytest.fixture(params=[ValueError, SystemExit, KeyboardInterrupt, StopIteration])
def fail(request: pytest.FixtureRequest) -> Raise:
    def raise_() -> None:
        raise request.param("a stranger")

    raise_.error = request.param  # type: ignore[attr-defined]  # for the test to expect
    return raise_


def check_error(handle: Any, fail: Any) -> None:
    expected = RuntimeError if fail.error is StopIteration else fail.error
    error = handle.future.exception(10)
    assert isinstance(error, expected), error


# --- who is slow ----------------------------------------------------------------------------------


def test_a_slow_callback_holds_nobody_else(reasoner: Reasoner) -> None:
    pieces: list[Chunk | None] = []

    def slow(chunk: Chunk | None) -> None:
        if not pieces:
            time.sleep(SLOW_S)
        pieces.append(chunk)

    nuisance = reasoner.submit(NUISANCE, on_chunk=slow, strategy="no-think", answer_budget=40)
    time.sleep(0.05)
    assert takes(lambda: check_works(reasoner)) < 0.8 * SLOW_S
    assert takes(lambda: reasoner.stream(QUESTION).result(10)) < 0.8 * SLOW_S
    assert not nuisance.future.done()  # its last piece is still to be delivered
    answer = nuisance.result(10)
    assert "".join(chunk.text for chunk in pieces if chunk).strip() == answer.answer
    assert reasoner.wait_idle()
    while pieces[-1] is not None:
        time.sleep(0.001)
    assert pieces.count(None) == 1


def test_a_slow_sink_holds_each_request_by_itself(model: str) -> None:
    def slow(event: Event) -> None:
        if event.kind == "phase_end":
            time.sleep(SLOW_S / 4)

    with Reasoner.open(model, trace=slow) as reasoner:
        handles = [reasoner.submit(QUESTION, strategy="think") for _ in range(8)]
        assert takes(lambda: [handle.result(10) for handle in handles]) < 2 * SLOW_S


def test_a_slow_strategy_holds_nobody_else(
    reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(turn: Turn, config: Any) -> Steps:
        done = yield turn.direct()
        time.sleep(SLOW_S)
        return Answer(done.text)

    monkeypatch.setattr(no_think, "run", slow)
    nuisance = reasoner.submit(QUESTION, strategy="no-think")
    time.sleep(0.05)
    assert takes(lambda: check_works(reasoner)) < 0.8 * SLOW_S
    assert nuisance.result(10).answer


def test_a_slow_template_holds_nobody_else(
    reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_templates(monkeypatch)
    thread = threading.Thread(target=reasoner.ask, args=(NUISANCE,))
    thread.start()
    time.sleep(0.05)
    assert takes(lambda: check_works(reasoner)) < 0.8 * SLOW_S
    thread.join()


def test_a_future_callback_that_takes_long_holds_nobody_else(reasoner: Reasoner) -> None:
    nuisance = reasoner.submit(QUESTION, strategy="think")
    nuisance.future.add_done_callback(lambda future: time.sleep(SLOW_S))
    nuisance.result(10)
    assert takes(lambda: check_works(reasoner)) < 0.8 * SLOW_S


def test_a_callback_may_ask_the_same_model(reasoner: Reasoner) -> None:
    answers: list[str] = []

    def ask(chunk: Chunk | None) -> None:
        answers.append(reasoner.ask(QUESTION, strategy="think").answer)

    reasoner.submit(QUESTION, strategy="think", on_chunk=ask).result(10)
    assert set(answers) == {"51"}


def test_a_stream_that_nobody_reads_holds_nobody_and_loses_nothing(reasoner: Reasoner) -> None:
    unread = reasoner.stream(NUISANCE, strategy="no-think", answer_budget=2000)
    check_works(reasoner)
    answer = unread.result(30)
    assert len(unread._ticket.outbox._pieces) <= 257
    pieces = list(unread)
    assert "".join(chunk.text for chunk in pieces).strip() == answer.answer
    assert len(answer.answer) > 257


def slow_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    render = base.thinking_prompt

    def slow(bundle: Any, messages: Any, thinking: Any, **options: Any) -> Any:
        if messages[-1].content == NUISANCE:
            time.sleep(SLOW_S)
        return render(bundle, messages, thinking, **options)

    monkeypatch.setattr(base, "thinking_prompt", slow)


# --- who raises -----------------------------------------------------------------------------------


def test_a_callback_that_raises_each_time_ends_its_request(reasoner: Reasoner, fail: Raise) -> None:
    other = reasoner.submit(NUISANCE, strategy="no-think", answer_budget=100)
    nuisance = reasoner.submit(QUESTION, strategy="think", on_chunk=lambda chunk: fail())
    check_error(nuisance, fail)
    assert other.result(10).answer
    check_works(reasoner)


def test_a_callback_that_raises_at_the_end_leaves_the_answer(
    reasoner: Reasoner, fail: Raise
) -> None:
    def at_end(chunk: Chunk | None) -> None:
        if chunk is None:
            fail()

    assert reasoner.submit(QUESTION, strategy="think", on_chunk=at_end).result(10).answer == "51"
    check_works(reasoner)


@pytest.mark.parametrize("kind", ["phase_end", "request_end"])
def test_a_sink_that_raises_each_time_ends_that_request(model: str, kind: str, fail: Raise) -> None:
    numbers: list[int] = []
    calls: list[str] = []

    def sink(event: Event) -> None:
        if event.data.get("priority") == 7:
            numbers.append(event.request)
        if event.request in numbers:
            calls.append(event.kind)
            if event.kind == kind or len(calls) > 3:
                fail()

    with Reasoner.open(model, trace=sink) as reasoner:
        other = reasoner.submit(NUISANCE, strategy="no-think", answer_budget=100)
        nuisance = reasoner.submit(QUESTION, strategy="think", priority=7)
        check_error(nuisance, fail)
        assert other.result(10).answer
        check_works(reasoner)
    assert calls[-1] == kind
    assert calls.count(kind) == 1


def test_a_sink_that_raises_at_the_start_is_heard_by_submit(model: str, fail: Any) -> None:
    with Reasoner.open(model, trace=lambda event: fail()) as reasoner:
        with pytest.raises(fail.error, match="a stranger"):
            reasoner.submit(QUESTION)
        assert reasoner.wait_idle()


@pytest.mark.parametrize("also_in_close", [False, True])
def test_a_strategy_that_raises_ends_its_request(
    reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch, fail: Raise, also_in_close: bool
) -> None:
    def children(turn: Turn, config: Any) -> Steps:
        try:
            yield turn.direct()
            fail()
        finally:
            if also_in_close:
                fail()
        return Answer("")

    def run(turn: Turn, config: Any) -> Steps:
        try:
            yield base.Fork(tuple(children(turn.reseeded(i), config) for i in range(3)))
        finally:
            if also_in_close:
                fail()
        return Answer("")

    monkeypatch.setattr(no_think, "run", run)
    other = reasoner.submit(NUISANCE, strategy="think", answer_budget=100, think_budget=50)
    nuisance = reasoner.stream(QUESTION, strategy="no-think")
    # StopIteration inside a generator is a RuntimeError already.
    check_error(nuisance, fail)
    assert other.result(10).answer
    check_works(reasoner)


def test_a_strategy_that_raises_when_it_is_cancelled(
    model: str, monkeypatch: pytest.MonkeyPatch, fail: Raise
) -> None:
    def run(turn: Turn, config: Any) -> Steps:
        try:
            yield turn.direct()
        finally:
            fail()
        return Answer("")

    monkeypatch.setattr(no_think, "run", run)
    with Reasoner.open(model, sleep_ms=2) as reasoner:
        nuisance = reasoner.submit(NUISANCE, strategy="no-think", answer_budget=1000)
        nuisance.cancel()
        check_error(nuisance, fail)
        check_works(reasoner)


def test_a_strategy_that_yields_what_is_no_phase_ends_its_request(
    reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(turn: Turn, config: Any) -> Any:
        yield turn.direct()
        yield "no phase"

    monkeypatch.setattr(no_think, "run", run)
    with pytest.raises(AttributeError):
        reasoner.submit(QUESTION, strategy="no-think").result(10)
    check_works(reasoner)


def test_future_callbacks_that_raise_harm_neither_each_other_nor_us(
    reasoner: Reasoner, fail: Raise
) -> None:
    called = threading.Event()
    nuisance = reasoner.submit(QUESTION, strategy="think")
    nuisance.future.add_done_callback(lambda future: fail())
    nuisance.future.add_done_callback(lambda future: fail())
    nuisance.future.add_done_callback(lambda future: called.set())
    assert nuisance.result(10).answer == "51"
    assert called.wait(10)
    check_works(reasoner)


def test_of_a_thousand_requests_only_those_that_raise_end_badly(model: str) -> None:
    chance = random.Random(7)
    errors = (ValueError, SystemExit, KeyboardInterrupt)
    bad: set[int] = set()

    def sink(event: Event) -> None:
        if event.data.get("priority") == -1:
            bad.add(event.request)
        if event.kind == "phase_end" and event.request in bad:
            raise SystemExit("sink")

    def ask(reasoner: Reasoner) -> tuple[str, Any]:
        way = chance.choice(["fine", "fine", "streams", "on_chunk", "sink", "future"])
        error = chance.choice(errors)

        def raise_(value: Any) -> None:
            raise error(way)

        options: dict[str, Any] = {"strategy": chance.choice(["think", "auto", "vote"])}
        options |= {"options": {"samples": 2}} if options["strategy"] == "vote" else {}
        if way == "on_chunk":
            options["on_chunk"] = raise_
        handle = reasoner.submit(
            QUESTION, stream=way == "streams", priority=-(way == "sink"), **options
        )
        if way == "future":
            handle.future.add_done_callback(raise_)
        return way, handle

    with Reasoner.open(model, trace=sink) as reasoner:
        asked = [ask(reasoner) for _ in range(1000)]
        for way, handle in asked:
            error = handle.future.exception(60)
            assert (error is not None) == (way in ("on_chunk", "sink")), (way, error)
            answers = ("51", "Not sure yet.")  # the second is the draft of auto
            assert error is not None or handle.result().answer in answers
        check_works(reasoner)
        assert reasoner.stats()["num_free_cells"] > 0


# --- cancelling and closing while a stranger is at work -------------------------------------------


def held_strategy(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The strategy no-think waits between its two phases: (it does now, let it go on)."""
    waits, go_on = threading.Event(), threading.Event()

    def run(turn: Turn, config: Any) -> Steps:
        yield turn.direct()
        waits.set()
        go_on.wait(10)
        done = yield turn.direct()
        return Answer(done.text)

    monkeypatch.setattr(no_think, "run", run)
    return waits, go_on


def test_cancel_while_the_strategy_is_at_work(
    reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go_on = held_strategy(monkeypatch)
    handle = reasoner.submit(QUESTION, strategy="no-think")
    assert waits.wait(10)
    handle.cancel()
    go_on.set()
    answer = handle.result(10)
    assert (answer.answer, answer.finish) == ("Not sure yet.", StopReason.CANCELLED)
    assert len(answer.phases) == 1
    check_works(reasoner)


def test_closing_does_not_wait_for_a_strategy(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, go_on = held_strategy(monkeypatch)
    reasoner = Reasoner.open(model)
    handle = reasoner.submit(QUESTION, strategy="no-think")
    assert waits.wait(10)
    reasoner.close()
    with pytest.raises(EngineError, match="closed while this request ran"):
        handle.result(10)
    go_on.set()


def test_closing_does_not_wait_for_a_callback(model: str) -> None:
    called, go_on = threading.Event(), threading.Event()

    def hang(chunk: Chunk | None) -> None:
        called.set()
        go_on.wait(10)

    reasoner = Reasoner.open(model, sleep_ms=5)
    handle = reasoner.submit(QUESTION, strategy="think", on_chunk=hang)
    assert called.wait(10)
    reasoner.close()
    with pytest.raises(EngineError, match="closed while this request ran"):
        handle.result(5)
    go_on.set()


def test_closing_from_a_callback(model: str) -> None:
    reasoner = Reasoner.open(model, sleep_ms=2)
    handle = reasoner.submit(
        NUISANCE, strategy="no-think", on_chunk=lambda chunk: reasoner.close(), answer_budget=1000
    )
    with pytest.raises(EngineError, match="closed while this request ran"):
        handle.result(10)


def test_text_that_goes_to_a_callback_cannot_be_read_as_well(reasoner: Reasoner) -> None:
    handle = reasoner.submit(QUESTION, on_chunk=lambda chunk: None)
    with pytest.raises(UsageError, match="goes to its on_chunk"):
        next(iter(handle))


# --- roles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role", "is_streamed"),
    [
        ("critique", Role.DRAFT, False),
        ("answer", Role.DRAFT, False),
        ("draft", Role.ANSWER, True),
        ("anything", Role.ANSWER, True),
    ],
)
def test_the_role_of_a_phase_says_what_is_streamed(
    reasoner: Reasoner,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    role: Role,
    is_streamed: bool,
) -> None:
    def run(turn: Turn, config: Any) -> Steps:
        yield replace(turn.direct(), name=name, role=role)
        return Answer("what the strategy says")

    monkeypatch.setattr(no_think, "run", run)
    handle = reasoner.stream(QUESTION, strategy="no-think")
    text = "".join(chunk.text for chunk in handle if chunk.channel is Channel.ANSWER)
    assert text == ("Not sure yet." if is_streamed else "what the strategy says")
    assert [(phase.name, phase.role) for phase in handle.result().phases] == [(name, role.value)]


def test_what_a_cancelled_line_leaves_goes_by_role(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(turn: Turn, config: Any) -> Steps:
        yield replace(turn.direct(), name="first try", role=Role.DRAFT, budget=20)
        yield turn.think(then=turn.answer())
        return Answer("")

    monkeypatch.setattr(no_think, "run", run)
    with Reasoner.open(model, sleep_ms=2) as reasoner:
        handle = reasoner.stream(QUESTION, strategy="no-think")
        next(iter(handle))  # a thought
        handle.cancel()
        assert handle.result(10).answer == "Not sure yet."


# --- asyncio --------------------------------------------------------------------------------------


def test_submit_leaves_the_event_loop_free(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_templates(monkeypatch)

    async def main() -> float:
        async with await AsyncReasoner.open(model) as reasoner:
            asked = asyncio.create_task(reasoner.ask(NUISANCE, answer_budget=4))
            longest, last = 0.0, time.monotonic()
            while not asked.done():
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            await asked
            return longest

    assert asyncio.run(main()) < 0.8 * SLOW_S


def test_what_is_wrong_with_the_first_phase_comes_out_of_the_async_handle(model: str) -> None:
    async def main() -> None:
        async with await AsyncReasoner.open(model) as reasoner:
            for ask in (reasoner.submit, reasoner.stream):
                handle = ask("x" * 9000)
                with pytest.raises(UsageError, match="the prompt has"):
                    await handle.result()
            with pytest.raises(UsageError, match="the prompt has"):
                _ = [chunk async for chunk in reasoner.stream("x" * 9000)]
            with pytest.raises(UsageError, match="does not stream"):
                _ = [chunk async for chunk in reasoner.submit(QUESTION)]

    asyncio.run(main())


@pytest.mark.parametrize("pause_s", [0.0, 30.0])  # cancelled while it waits for text, or in between
def test_a_reader_that_is_cancelled_cancels_its_request(model: str, pause_s: float) -> None:
    async def main() -> None:
        async with await AsyncReasoner.open(model, sleep_ms=2) as reasoner:
            handle = reasoner.stream(NUISANCE, strategy="no-think", answer_budget=2000)

            async def read() -> None:
                async for _ in handle:
                    await asyncio.sleep(pause_s)

            reader = asyncio.create_task(read())
            await asyncio.sleep(0.1)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            answer = await asyncio.wait_for(handle.result(), 2)
            assert answer.finish is StopReason.CANCELLED

    asyncio.run(main())


def test_a_reader_that_only_stops_reading_does_not_cancel(model: str) -> None:
    async def main() -> None:
        async with await AsyncReasoner.open(model) as reasoner:
            handle = reasoner.stream(QUESTION, strategy="think")
            async for _ in handle:
                break
            assert (await handle.result()).answer == "51"

    asyncio.run(main())


def test_a_closed_event_loop_harms_nobody(reasoner: Reasoner) -> None:
    async def leave() -> Any:
        handle = AsyncReasoner(reasoner).stream(NUISANCE, strategy="no-think", answer_budget=3000)
        async for _ in handle:
            break
        return handle

    handle = asyncio.run(leave())
    assert handle._handle.result(10).finish is StopReason.CANCELLED
    check_works(reasoner)

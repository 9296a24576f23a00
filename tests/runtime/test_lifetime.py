"""Models that nobody closes: the end of the program, a reasoner that is let go, a fork."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgereason import Reasoner
from edgereason.errors import EngineError
from edgereason.records import Chunk
from support.models_open import models_in_memory
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"

# A request is on its way, and the program ends as it likes.
PROGRAM = """
import sys, threading, time
from edgereason import Reasoner

reasoner = Reasoner.open(sys.argv[1], context=2048)
handle = reasoner.submit("Count to a thousand.", strategy="think", think_budget=-1)
{ending}
"""
ENDINGS = {
    "the last line": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise ValueError('on purpose')", 1),
    "del": ("del reasoner, handle", 0),
    "a thread that waits": ("threading.Thread(target=handle.result, daemon=True).start()", 0),
}


@pytest.mark.model
@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_may_end_while_a_request_runs(name: str, smollm2: Path) -> None:
    ending, code = ENDINGS[name]
    for seconds in (0, 0.3):
        program = PROGRAM.format(ending=f"time.sleep({seconds})\n{ending}")
        done = subprocess.run(
            [sys.executable, "-c", program, str(smollm2)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return holds()


def test_reasoners_that_are_let_go_are_freed() -> None:
    this = psutil.Process()
    before = this.num_threads()
    for _ in range(10):
        reasoner = Reasoner.open(SCRIPTED)
        reasoner.ask(QUESTION)
        reasoner.stream(QUESTION)  # nobody reads it
        left = weakref.ref(reasoner), weakref.ref(reasoner._driver)
        del reasoner
    gc.collect()
    assert left[0]() is None
    assert wait_until(lambda: this.num_threads() <= before), this.num_threads() - before
    gc.collect()
    assert left[1]() is None


def test_a_request_goes_on_when_its_reasoner_is_let_go() -> None:
    pieces: list[Chunk | None] = []
    ended = threading.Event()

    def on_chunk(chunk: Chunk | None) -> None:
        pieces.append(chunk)
        if chunk is None:
            ended.set()

    future = Reasoner.open(SCRIPTED, sleep_ms=2).submit(QUESTION, on_chunk=on_chunk).future
    gc.collect()
    assert future.result(10).answer
    assert ended.wait(10)
    assert len(pieces) > 1


def in_child(act: Callable[[], Any]) -> int:
    """The exit code of a child in which it runs; -14: it hung for ten seconds."""
    child = os.fork()
    if child == 0:
        import signal

        signal.alarm(10)
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork, from 3.12 on
@pytest.mark.parametrize("what", ["ask", "result", "read", "cancel", "stats"])
def test_the_child_of_a_fork_is_told_that_it_cannot_use_the_model(what: str) -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=20) as reasoner:
        handle = reasoner.stream(QUESTION, strategy="think")
        acts: dict[str, Callable[[], Any]] = {
            "ask": lambda: reasoner.ask(QUESTION),
            "result": handle.result,
            "read": lambda: next(iter(handle)),
            "cancel": handle.cancel,
            "stats": reasoner.stats,
        }

        def act() -> None:
            with pytest.raises(EngineError, match="opened before the process was forked"):
                acts[what]()
            reasoner.close()  # as a `with` block would

        assert in_child(act) == 0
        assert handle.result(10).answer  # the parent's goes on


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork, from 3.12 on
def test_the_child_of_a_fork_opens_its_own() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:

        def act() -> None:
            nonlocal reasoner
            del reasoner
            gc.collect()
            with Reasoner.open(SCRIPTED) as own:
                assert own.ask(QUESTION).answer

        assert in_child(act) == 0


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("strategy", ["think", "vote", "auto"])
def test_what_is_closed_and_let_go_is_freed_at_once(strategy: str, traced: bool) -> None:
    """The collector may come by after the next models have been opened, and memory is full."""
    handles = []

    def use() -> None:
        with Reasoner.open(SCRIPTED, trace=(lambda event: None) if traced else None) as reasoner:
            reasoner.submit(QUESTION, strategy=strategy, on_chunk=lambda chunk: None).result()
            handles.append(reasoner.submit(QUESTION, strategy=strategy))
            assert handles[-1].result().answer

    gc.collect()
    gc.disable()
    try:
        before = models_in_memory()
        use()
        assert models_in_memory() == before
    finally:
        gc.enable()

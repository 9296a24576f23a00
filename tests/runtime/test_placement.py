"""Cores, nice value and locked memory of the threads that decode."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgereason import Reasoner
from edgereason.cli._opening import cores_of
from edgereason.errors import MemoryLimitError, UnsupportedError, UsageError
from support.cli_runner import Cli
from support.places import SCRIPTED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is asked of Linux")

LAST = max(os.sched_getaffinity(0)) if sys.platform == "linux" else 0


def threads() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def test_the_thread_that_decodes_gets_cores_and_nice_value() -> None:
    before = threads()
    with Reasoner.open(SCRIPTED, cores=(LAST,), nice=3) as reasoner:
        assert reasoner.ask("What is 17 * 3?", strategy="think").answer == "51"
        placed = [
            thread
            for thread in threads() - before
            if os.sched_getaffinity(thread) == {LAST}
            and os.getpriority(os.PRIO_PROCESS, thread) == 3
        ]
        assert len(placed) == 1
        assert reasoner.stats()["num_threads"] == 1
    assert os.getpriority(os.PRIO_PROCESS, 0) != 3


@pytest.mark.model
def test_threads_of_libllama_inherit_them(smollm2: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    before = threads()
    with Reasoner.open(smollm2, cores=(LAST,), context=256) as reasoner:
        reasoner.ask("Hi", strategy="no-think", answer_budget=4)
        assert reasoner.stats()["num_threads"] == 1
        placed = [each for each in threads() - before if os.sched_getaffinity(each) == {LAST}]
        assert placed


@pytest.mark.parametrize(
    ("options", "said"),
    [({"cores": (4096,)}, "core 4096"), ({"nice": 20}, "got 20"), ({"cores": (-1,)}, "core -1")],
)
def test_what_there_is_not_is_refused_by_value(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Reasoner.open(SCRIPTED, **options)


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match="got 2"):
        Reasoner.open(SCRIPTED, cores=(LAST,), threads=2)


def test_engines_with_threads_of_their_own_take_no_cores() -> None:
    with pytest.raises(UnsupportedError, match="threads of its own"):
        Reasoner.open(SCRIPTED, engine="onnxruntime", cores=(LAST,))


@pytest.fixture
def _unlocked() -> Iterator[None]:
    yield
    ctypes.CDLL(None).munlockall()


def locked_kib() -> int:
    found = re.search(r"VmLck:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


@pytest.mark.usefixtures("_unlocked")
def test_memory_is_locked_or_the_limit_is_named() -> None:
    assert locked_kib() == 0
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 1 << 30 and not may_lock():
        with pytest.raises(MemoryLimitError, match="KiB"):
            Reasoner.open(SCRIPTED, lock_memory=True)
        assert locked_kib() == 0
        return
    with Reasoner.open(SCRIPTED, lock_memory=True):
        assert locked_kib() > 10_000


def may_lock() -> bool:
    """Whether this process has CAP_IPC_LOCK, for which there is no limit."""
    found = re.search(r"CapEff:\s+([0-9a-f]+)", Path("/proc/self/status").read_text())
    return bool(found and int(found[1], 16) >> 14 & 1)


def test_cores_are_written_as_taskset_takes_them() -> None:
    assert cores_of("2") == (2,)
    assert cores_of("0, 4-6,9") == (0, 4, 5, 6, 9)
    for text in ("", "a", "3-1", "-1", "1-", "1,,2", "12345"):
        with pytest.raises(UsageError, match="cores must be a list"):
            cores_of(text)


def test_the_command_line_places_threads(cli: Cli) -> None:
    ran = cli("run", "What is 17 * 3?", "--strategy", "think", "--cores", str(LAST), "--nice", "1")
    assert ran.code == 0
    assert ran.out == "51\n"
    refused = cli("run", "What is 17 * 3?", "--cores", "4095")
    assert (refused.code, "core 4095" in refused.err) == (2, True)

"""Runs a short program of a model's in a child process: `Call` in, `Returned` out.

The child (`sandbox_child.py`) is a Python of its own, isolated (`-I -S`), with an empty
environment, in an empty folder that is deleted. Its CPU time, memory, output and number of open
files are limited by the kernel: no file and no socket can be opened. The program may use a few
mathematical modules and harmless builtins, no attribute that begins with `_`, and no frame. (What
`str.format` reads of an object is text, so it may be told, but not used.)

This keeps a model's mistakes from doing harm: endless loops, huge lists, stray calls. It is no wall
against a program written to break out: Python inside Python has been escaped before, and under root
an escaped program could raise its limits again. There is no filter on system calls.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from edgereason.errors import EngineError
from edgereason.strategies.base import Call, Returned

_CHILD: Final = Path(__file__).with_name("sandbox_child.py")
_POLL_S: Final = 0.02
_MOST_OUTPUT: Final = 1 << 16  # bytes; the child is held to it, too


def run_program(
    call: Call,
    stopped: Callable[[], bool] = lambda: False,
    *,
    left: float = math.inf,
    script: Path = _CHILD,
) -> Returned:
    """Waits for the program, at most `call.seconds` and the seconds `left`, or until `stopped()`.
    `script` is the child: another one may allow more."""
    seconds = min(call.seconds, left)
    if seconds <= 0:
        return Returned(error="no time was left to run the program", was_cut=True)
    if not sys.executable:
        raise EngineError("programs cannot be run: this Python does not know its own executable")
    asked = {
        "source": call.source,
        "function": call.function,
        "cpu_seconds": seconds,
        "memory_mib": call.memory_mib,
        "most_output": _MOST_OUTPUT,
    }
    with (
        tempfile.TemporaryDirectory(prefix="edgereason-") as folder,
        tempfile.TemporaryFile() as question,
        tempfile.TemporaryFile() as answer,
    ):
        question.write(json.dumps(asked).encode())
        question.seek(0)
        until = time.monotonic() + seconds
        error = _run(folder, question, answer, until, stopped, script=script)
        if error:
            late = left < call.seconds and time.monotonic() > until
            return Returned(error=error, was_cut=late or stopped())
        answer.seek(0)
        return _read(answer.read(_MOST_OUTPUT))


def _run(
    folder: str,
    question: IO[bytes],
    answer: IO[bytes],
    until: float,
    stopped: Callable[[], bool],
    *,
    script: Path,
) -> str:
    """Why the child did not come to its end; "" where it did."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(script)],
        stdin=question,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        start_new_session=True,
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_S)
                return "" if child.returncode >= 0 else _killed(-child.returncode)
            if stopped():
                return "the request was cancelled"
            if time.monotonic() > until:
                return "the program took too long"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _killed(number: int) -> str:
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "the program took too long"
    return f"the program was ended by {signal.Signals(number).name}"


def _read(output: bytes) -> Returned:
    try:
        told = json.loads(output)
        return Returned(str(told.get("value", "")), str(told.get("error", "")))
    except (ValueError, AttributeError):
        return Returned(error="the program ended without a result")


__all__ = ["run_program"]

"""One mutant after another, in a child of the fuzzer."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import tempfile
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from fuzz.kinds import KINDS

from edgereason.errors import EdgereasonError

HANG_SECONDS: Final = 30


class Hung(BaseException):
    """Too long for one small file."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def run_one(name: str, number: int) -> str:
    """`opened`, `refused`, or the traceback of what should not have happened."""
    kind, draw = KINDS[name], random.Random(f"{name} {number}")
    with tempfile.TemporaryDirectory() as folder:
        kind.make(Path(folder), draw)
        try:
            with limited():
                kind.open(Path(folder))
        except EdgereasonError:
            return "refused"
        except (Exception, Hung):
            return traceback.format_exc()
    return "opened"


def work(name: str, first: int, pipe: Connection) -> None:
    """In the child: one mutant after another, each outcome told before the next."""
    faulthandler.enable()
    if not os.environ.get("FUZZ_LOUD"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of damaged files
    number = first
    while True:
        pipe.send((number, run_one(name, number)))
        number += 1

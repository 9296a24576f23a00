"""Events go to a file as one JSON object a line."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from edgereason.errors import UsageError
from edgereason.runtime.trace import Event, JsonLines


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with JsonLines(path) as sink:
        sink(Event("request_start", 7, 0.12345, {"strategy": "thinké"}))
        sink(Event("request_end", 7, 5.0, {"request": "no key of ours is hidden"}))
    with JsonLines(path) as sink:  # appends
        sink(Event("phase_end", 8, 6.0))
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {"strategy": "thinké", "event": "request_start", "request": 7, "at_ms": 0.123},
        {"event": "request_end", "request": 7, "at_ms": 5.0},
        {"event": "phase_end", "request": 8, "at_ms": 6.0},
    ]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write a trace to .*: Is a directory"):
        JsonLines(tmp_path)


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with JsonLines(path) as sink:

        def write(request: int) -> None:
            for i in range(50):
                sink(Event("phase_end", request, float(i), {"text": "x" * 500}))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 200

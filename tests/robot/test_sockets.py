"""Datagrams, as a robot would send them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.robot import Station
from edgereason.robot.sockets import Datagrams, bound, main
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"


class Robot:
    """The other end."""

    def __init__(self, address: Any, where: socket.socket) -> None:
        self.address = address
        self.socket = where
        self.socket.settimeout(10)

    def send(self, **message: Any) -> None:
        self.socket.sendto(json.dumps(message).encode(), self.address)

    def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self.socket.recvfrom(65_507)[0])
        return heard

    def ask(self, name: str, **more: Any) -> dict[str, Any]:
        question = {"id": name, "prompt": QUESTION, "way": "think", "answer_tokens": 8}
        self.send(**question | more)
        return self.hear()


@contextmanager
def serving(where: socket.socket, sleep_ms: float = 1.0) -> Iterator[Station]:
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=sleep_ms)) as station:
        server = Datagrams(station, where)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield station
        server.close()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def robot() -> Iterator[Robot]:
    where = bound("127.0.0.1:0", None)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with serving(where), client:
        yield Robot(where.getsockname(), client)


def test_a_question_is_answered(robot: Robot) -> None:
    heard = robot.ask("7", deadline_ms=5000, reasoning=True)
    assert (heard["id"], heard["kind"], heard["answer"]) == ("7", "answer", "51")
    assert (heard["ended_by"], heard["late_ms"]) == ("stop", 0)
    assert heard["reasoning"].startswith("Three times ten")
    assert heard["usage"]["answer_tokens"] == 4


def test_who_asks_again_is_told_again_and_nothing_is_thought_twice(robot: Robot) -> None:
    first = robot.ask("a")
    assert robot.ask("a") == first
    robot.send(do="health")
    assert robot.hear()["num_asked"] == 1


def test_asking_again_while_it_runs_starts_nothing(robot: Robot) -> None:
    for _ in range(3):
        robot.send(id="b", prompt=QUESTION, way="think")
    assert robot.hear()["answer"] == "51"
    robot.send(do="health")
    heard = robot.hear()
    assert (heard["kind"], heard["state"], heard["num_asked"]) == ("health", "ready", 1)


def test_a_deadline_counts_from_when_it_was_sent(robot: Robot) -> None:
    heard = robot.ask("c", deadline_ms=300, sent_ms=1000 * time.time() - 400)
    assert heard["kind"] == "error"
    assert "was over when the question arrived" in heard["error"]["message"]


def test_progress_is_told_where_it_is_wanted() -> None:
    where = bound("127.0.0.1:0", None)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with serving(where, sleep_ms=10), client:
        robot = Robot(where.getsockname(), client)
        robot.send(id="d", prompt=QUESTION, way="think", progress=True, deadline_ms=9000)
        kinds = [(heard := robot.hear())["kind"]]
        assert 0 < heard["left_ms"] < 9000
        while kinds[-1] == "progress":
            kinds.append(robot.hear()["kind"])
    assert kinds[-1] == "answer"
    assert len(kinds) > 2


def test_an_answer_of_a_given_form(robot: Robot) -> None:
    pytest.importorskip("llguidance", reason="grammars need the extra `grammar`")
    assert robot.ask("f", choice=["left", "right"])["answer"] in ("left", "right")
    heard = robot.ask("g", json_schema='{"type": "boolean"}')
    assert heard["answer"] in ("true", "false")


def test_cancel(robot: Robot) -> None:
    robot.send(id="e", prompt=QUESTION, way="think")
    robot.send(id="e", do="cancel")
    heard = robot.hear()
    assert (heard["id"], heard["ended_by"]) == ("e", "cancelled")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\x00", "must be one JSON object"),
        (b"[1]", "must be one JSON object"),
        (b"[" * 5000, "must be one JSON object"),
        (b'{"prompt": "hm"}', "id"),
        (b'{"id": 7, "prompt": "hm"}', "id must be"),
        (b'{"id": "x", "prompt": "hm", "promt": 1}', "unknown key"),
        (b'{"id": "x", "prompt": "hm", "deadline_ms": -1}', "deadline must be more than 0"),
        (b'{"id": "x", "prompt": "hm", "choice": ["a"], "json_schema": "{}"}', "either choice or"),
        (b'{"id": "x", "do": "dance"}', "do must be cancel, stop_thinking or health, got 'dance'"),
        (b'{"id": "nobody", "do": "cancel"}', "nothing runs with the id 'nobody'"),
        (b'{"id": "x", "prompt": "hm", "way": "thnk"}', "thnk"),
    ],
)
def test_bad_datagrams_are_answered_and_do_no_harm(robot: Robot, data: bytes, message: str) -> None:
    robot.socket.sendto(data, robot.address)
    heard = robot.hear()
    assert heard["kind"] == "error"
    assert message in heard["error"]["message"]
    assert robot.ask("after")["answer"] == "51"


def test_who_goes_away_harms_nobody(tmp_path: Path) -> None:
    where = bound(None, str(tmp_path / "s"))
    with serving(where, sleep_ms=5):
        gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        gone.bind(str(tmp_path / "gone"))
        Robot(str(tmp_path / "s"), gone).send(id="g", prompt=QUESTION, way="think")
        gone.close()
        (tmp_path / "gone").unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(tmp_path / "c"))
            assert Robot(str(tmp_path / "s"), client).ask("h")["answer"] == "51"


def test_a_socket_file_is_for_its_owner_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bound(None, str(path)).close()
    with bound(None, str(path)):
        assert path.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "file"
    other.write_text("mine")
    assert main(["--model", SCRIPTED, "--unix", str(other)]) == 2
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    ("udp", "unix", "message"),
    [
        (None, None, "either --udp HOST:PORT or --unix PATH"),
        ("h:1", "/x", "either --udp HOST:PORT or --unix PATH"),
        ("7000", None, "--udp must be HOST:PORT, got '7000'"),
        ("localhost:x", None, "--udp must be HOST:PORT"),
    ],
)
def test_bad_addresses(udp: str | None, unix: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bound(udp, unix)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "s"
    command = [sys.executable, "-m", "edgereason.robot.sockets", "--model", SCRIPTED]
    process = subprocess.Popen([*command, "--unix", str(path)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(tmp_path / "c"))
            assert Robot(str(path), client).ask("1")["answer"] == "51"
    finally:
        process.send_signal(2)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")

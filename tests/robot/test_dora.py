"""The node in dora's own runtime: `dora run` with a client that writes down what it hears."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.places import ROOT, SCRIPTED

pytest.importorskip("dora", reason="needs dora-rs: pip install 'edgereason[dora]' dora-rs-cli")
pytest.importorskip("pyarrow", reason="needs pyarrow")

HERE = Path(__file__).parent / "dora"
QUESTION = "What is 17 * 3?"
Heard = list[dict[str, Any]]


@pytest.fixture
def dora() -> str:
    """The command that runs a dataflow."""
    beside = Path(sys.executable).with_name("dora")
    found = str(beside) if beside.exists() else shutil.which("dora")
    if found is None:
        pytest.skip("needs the command dora: pip install dora-rs-cli")
    return found


def goal(name: str, until: int = 0, **question: Any) -> dict[str, Any]:
    asked = {"prompt": QUESTION, "way": "think", "answer_tokens": 8} | question
    metadata = {"goal_id": name}
    return {"send": "goal", "text": json.dumps(asked), "metadata": metadata, "until": until}


def end(name: str, what: str = "cancel", until: int = 0) -> dict[str, Any]:
    return {"send": what, "text": "", "metadata": {"goal_id": name}, "until": until}


def dataflow(tmp_path: Path, node: str, arguments: str) -> dict[str, Any]:
    """A client and a reasoner."""
    inputs = ("text", "goal", "cancel", "stop_thinking")
    outputs = ("text", "feedback", "result")
    queue = {"queue_size": 100, "queue_policy": "backpressure"}
    client = {
        "id": "client",
        "path": sys.executable,
        "args": f"{HERE / 'client.py'} {tmp_path / 'sent'} {tmp_path / 'heard'}",
        "inputs": {name: {"source": f"reasoner/{name}", **queue} for name in outputs},
        "outputs": list(inputs),
    }
    reasoner = {
        "id": "reasoner",
        "path": sys.executable,
        "args": f"{node} {arguments}",
        "inputs": {name: {"source": f"client/{name}", **queue} for name in inputs},
        "outputs": list(outputs),
    }
    return {"nodes": [client, reasoner]}


def run(
    dora: str, tmp_path: Path, flow: dict[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "dataflow.yml"
    path.write_text(json.dumps(flow), encoding="utf-8")  # JSON is YAML as well
    command = [dora, "run", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def asked(
    dora: str,
    tmp_path: Path,
    lines: Sequence[dict[str, Any]],
    node: str = "-m edgereason.robot.dora",
    arguments: str = f"--model {SCRIPTED} --set way=think --set answer_tokens=8",
) -> Heard:
    """What the client hears."""
    (tmp_path / "sent").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    ran = run(dora, tmp_path, dataflow(tmp_path, node, arguments))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]


def asked_scripted(
    dora: str, tmp_path: Path, lines: Sequence[dict[str, Any]], **options: Any
) -> Heard:
    arguments = f"{SCRIPTED} '{json.dumps(options)}'"
    return asked(dora, tmp_path, lines, str(HERE / "scripted.py"), arguments)


def ended(heard: Heard) -> dict[str, tuple[str, dict[str, Any]]]:
    """Status and result of each goal; each ends once."""
    results = [each for each in heard if each["on"] == "result"]
    names = [each["metadata"]["goal_id"] for each in results]
    assert len(names) == len(set(names))
    return {
        each["metadata"]["goal_id"]: (each["metadata"]["goal_status"], json.loads(each["text"]))
        for each in results
    }


def test_a_prompt_is_answered_with_its_metadata(dora: str, tmp_path: Path) -> None:
    metadata = {"request_id": "r1", "session_id": "s"}
    line = {"send": "text", "text": QUESTION, "metadata": metadata, "until": 1}
    (heard,) = asked(dora, tmp_path, [line])
    assert (heard["on"], heard["text"]) == ("text", "51")
    assert heard["metadata"].items() >= {**metadata, "goal_status": "succeeded"}.items()


def test_goals_end_as_they_should(dora: str, tmp_path: Path) -> None:
    begun_ms = 1000 * time.time()
    lines = [
        goal("plain", deadline_ms=20_000, reasoning=True, until=1),
        goal("old", deadline_ms=300, sent_ms=begun_ms - 400, until=2),
        goal("typo", promt="hm", until=3),
        goal("id", id="7", until=4),
        {"send": "goal", "text": "no JSON", "metadata": {"goal_id": "text"}, "until": 5},
        goal("slower", deadline_ms=0.01, until=6),  # it is over once dora has brought it
        end("early"),
        goal("early", until=7),
        end("nobody", "stop_thinking"),
        *(goal(f"many-{i}") for i in range(30)),
        goal("last", priority=3, until=38),
    ]
    found = ended(asked(dora, tmp_path, lines))
    status, said = found["plain"]
    assert (status, said["answer"], said["late_ms"]) == ("succeeded", "51", 0)
    assert said["reasoning"].startswith("Three times ten")
    for name, message in (
        ("old", "was over when the question arrived"),
        ("slower", "was over when the question arrived"),
        ("typo", "unknown key"),
        ("id", "`goal_id` in its metadata"),
        ("text", "a goal must be one JSON object"),
    ):
        status, said = found[name]
        assert status == "aborted"
        assert message in said["error"]["message"]
    assert found["early"][0] == "canceled"
    assert [found[f"many-{i}"][0] for i in range(30)] == ["succeeded"] * 30
    assert found["last"][0] == "succeeded"


def test_feedback_cancel_and_stop_while_it_runs(dora: str, tmp_path: Path) -> None:
    """A second a goal, so that feedback comes before its end."""
    lines = [
        goal("told", deadline_ms=20_000, until=1),
        goal("long"),
        end("long", until=2),
        goal("short"),
        end("short", "stop_thinking", until=3),
    ]
    heard = asked_scripted(dora, tmp_path, lines, sleep_ms=20)
    feedback = [each for each in heard if each["on"] == "feedback"]
    first = json.loads(feedback[0]["text"])
    assert feedback[0]["metadata"] == {"goal_id": "told"}
    assert first["kind"] == "progress"
    assert 0 < first["left_ms"] < 20_000
    found = ended(heard)
    assert found["told"][0] == "succeeded"
    assert (found["long"][0], found["long"][1]["ended_by"]) == ("canceled", "cancelled")
    assert (found["short"][0], found["short"][1]["ended_by"]) == ("succeeded", "interrupted")


def test_a_model_that_fails_says_so_and_is_opened_anew(dora: str, tmp_path: Path) -> None:
    later = [goal(f"later-{i}", until=3 + i) | {"after_s": 0.1} for i in range(20)]
    lines = [
        goal("failed", until=1),
        {"send": "text", "text": QUESTION, "metadata": {"goal_id": "words"}, "until": 2},
        *later,
    ]
    heard = asked_scripted(dora, tmp_path, lines, fail_at_step=10)
    found = ended(heard)
    assert found["failed"][0] == "aborted"
    assert "the engine failed" in found["failed"][1]["error"]["message"]
    (words,) = [each for each in heard if each["on"] == "text"]
    assert (words["text"], words["metadata"]["goal_status"]) == ("", "aborted")
    assert words["metadata"]["error"].startswith("the model is ")
    assert found["later-19"][0] == "succeeded"


def test_a_dataflow_that_is_stopped_waits_for_nobody(dora: str, tmp_path: Path) -> None:
    """The goal would take 20 seconds, and dora kills what is there 10 seconds after the stop."""
    (tmp_path / "sent").write_text(json.dumps(goal("long", until=1)), encoding="utf-8")
    arguments = f"{SCRIPTED} '{json.dumps({'sleep_ms': 500})}'"
    flow = dataflow(tmp_path, str(HERE / "scripted.py"), arguments)
    begun = time.monotonic()
    ran = run(dora, tmp_path, flow, "--stop-after", "6")
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert time.monotonic() - begun < 13


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["image"], ["text"], "the input 'image' begins with none of text, goal, cancel"),
        (["goal-1"], ["text"], "add result to its outputs in the dataflow"),
    ],
)
def test_a_dataflow_that_makes_no_sense_is_refused(
    dora: str, tmp_path: Path, inputs: list[str], outputs: list[str], message: str
) -> None:
    reasoner = {
        "id": "reasoner",
        "path": sys.executable,
        "args": f"-m edgereason.robot.dora --model {SCRIPTED}",
        "inputs": {name: "dora/timer/millis/100" for name in inputs},
        "outputs": outputs,
    }
    ran = run(dora, tmp_path, {"nodes": [reasoner]})
    assert ran.returncode != 0
    assert message in ran.stdout


def test_the_example(dora: str, tmp_path: Path) -> None:
    """Three sums, of which one is cancelled, and three more."""
    example = ROOT / "examples" / "dora"
    for name in ("dataflow.yml", "robot.py", "reasoner.py"):
        shutil.copy(example / name, tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        [dora, "run", str(tmp_path / "dataflow.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert ran.stdout.count(" canceled ") == 2
    for answer in (85, 86, 88, 89):
        assert f"succeeded {answer}" in ran.stdout

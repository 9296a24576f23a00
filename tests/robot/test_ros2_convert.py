"""What the ROS 2 node says, without ROS: messages are anything with the fields."""

from __future__ import annotations

import ast
import math
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from edgereason.errors import EngineError, UsageError
from edgereason.grammars import Grammar
from edgereason.records import Answer, Energy, StopReason
from edgereason.robot import Health, Outcome, Progress, State, Station
from edgereason.runtime.reasoner import Reasoner
from support.places import ROOT, SCRIPTED

ROS2 = ROOT / "robot" / "ros2"
sys.path.insert(0, str(ROS2 / "edgereason_ros"))

from edgereason_ros import convert
from edgereason_ros.planner import NodePlanner

INTERFACES = ROS2 / "edgereason_interfaces"
DEFAULTS = convert.Defaults("think", 64, 8)


def goal(**changes: Any) -> SimpleNamespace:
    """A goal of Think as ROS fills it in."""
    fields = {
        "stamp": SimpleNamespace(sec=0, nanosec=0),
        "prompt": "What is 17 * 3?",
        "messages": [],
        "way": "",
        "options": [],
        "think_tokens": -2,
        "answer_tokens": 0,
        "deadline_ms": 0.0,
        "json_schema": "",
        "priority": 0,
    }
    return SimpleNamespace(**{**fields, **changes})


def result() -> SimpleNamespace:
    return SimpleNamespace(
        success=False, answer="", reasoning="", ended_by="", message="", figures=SimpleNamespace()
    )


def test_what_a_goal_leaves_out_is_the_nodes() -> None:
    request = convert.request_of(goal(), DEFAULTS)
    assert (request.strategy, request.budget.think_tokens) == ("think", 64)
    assert (request.budget.answer_tokens, request.budget.deadline_ms) == (8, None)


def test_what_a_goal_says_holds() -> None:
    turns = [
        SimpleNamespace(role="system", content="be brief"),
        SimpleNamespace(role="user", content="hm"),
    ]
    asked = goal(
        prompt="",
        messages=turns,
        way="vote",
        options=["samples=3"],
        think_tokens=-1,
        answer_tokens=5,
        deadline_ms=250.0,
        json_schema='{"type": "integer"}',
        priority=7,
    )
    request = convert.request_of(asked, DEFAULTS)
    assert [message.content for message in request.messages] == ["be brief", "hm"]
    assert (request.strategy, request.options) == ("vote", {"samples": "3"})
    assert (request.budget.think_tokens, request.budget.answer_tokens) == (-1, 5)
    assert (request.budget.deadline_ms, request.priority) == (250.0, 7)
    assert request.grammar == Grammar.json({"type": "integer"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ""}, "either `prompt` or `messages`"),
        ({"messages": [SimpleNamespace(role="user", content="x")]}, "either `prompt` or"),
        ({"deadline_ms": -1.0}, "deadline_ms must be 0"),
        ({"options": ["samples"]}, "expected key=value, got 'samples'"),
        ({"json_schema": "{"}, "JSON"),
        ({"think_tokens": -3}, "think budget must be -1 or more, got -3"),
    ],
)
def test_goals_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        convert.request_of(goal(**changes), DEFAULTS)


def test_cores_are_numbers() -> None:
    assert convert.cores_of(" ") == ()
    assert convert.cores_of("2, 3") == (2, 3)
    with pytest.raises(UsageError, match="must be numbers"):
        convert.cores_of("2-3")


def test_the_age_of_a_goal() -> None:
    stamp = SimpleNamespace(sec=100, nanosec=500_000_000)
    assert convert.age_ms(stamp, 100_750_000_000) == 250
    assert convert.age_ms(stamp, 99_000_000_000) == 0  # a clock that is ahead
    assert convert.age_ms(SimpleNamespace(sec=0, nanosec=0), 5) == 0


def test_an_answer_becomes_a_result() -> None:
    with Station(partial(Reasoner.open, SCRIPTED)) as station:
        outcome = station.submit(convert.request_of(goal(deadline_ms=5000.0), DEFAULTS)).outcome(9)
    filled = convert.fill(result(), outcome)
    assert (filled.success, filled.answer, filled.ended_by) == (True, "51", "stop")
    assert filled.reasoning.startswith("Three times ten")
    assert filled.figures.reasoning_tokens == 30
    assert filled.figures.late_ms == 0
    assert 0 <= filled.figures.confidence <= 1
    assert set(vars(filled.figures)) == set(fields_of("msg/Figures.msg"))
    assert convert.verdict(outcome, cancel_requested=False) == "succeed"


def test_an_error_becomes_a_message() -> None:
    filled = convert.fill(result(), Outcome(error=EngineError("it broke", "mend it")))
    assert (filled.success, filled.ended_by) == (False, "error")
    assert filled.message == "it broke (mend it)"


@pytest.mark.parametrize(
    ("finish", "cancel_requested", "state"),
    [
        (StopReason.STOP, False, "succeed"),
        (StopReason.STOP, True, "succeed"),  # the cancel came too late
        (StopReason.DEADLINE, False, "succeed"),
        (StopReason.CANCELLED, True, "canceled"),
        (StopReason.CANCELLED, False, "abort"),  # by the node
        (StopReason.REFUSED, False, "abort"),
    ],
)
def test_the_state_that_a_goal_ends_in(
    finish: StopReason, cancel_requested: bool, state: str
) -> None:
    outcome = Outcome(answer=Answer("x", finish=finish))
    assert convert.verdict(outcome, cancel_requested=cancel_requested) == state


def test_feedback() -> None:
    told = convert.fill_feedback(SimpleNamespace(), Progress("hm", "le", "le", None, True))
    assert (told.reasoning, told.answer, told.best_answer) == ("hm", "le", "le")
    assert math.isnan(told.left_ms)
    assert set(vars(told)) == set(fields_of("action/Think.action", part=2))


def test_diagnostics_tell_late_answers_and_a_broken_model() -> None:
    level, message, values = convert.diagnosis(Health(State.READY), {"step_ms": 2.0}, 0.5)
    assert (level, message) == (convert.OK, "ready, 0 running")
    assert (values["core step_ms"], values["machine load per core"]) == ("2.0", "0.50")
    late = Health(State.READY, num_asked=4, num_answered=4, num_late=1)
    assert convert.diagnosis(late, {}, 0)[:2] == (convert.WARN, "1 late, 0 failed of 4")
    assert convert.diagnosis(late, {}, 0)[2]["late share"] == "0.2500"
    assert values["energy meter"] == "none"
    energy = Energy(joules=2.5, joules_per_token=0.25, meter="ina3221", scope="module")
    measured = convert.diagnosis(Health(State.READY, energy=energy), {}, 0)[2]
    assert measured["energy meter"] == "ina3221: module"
    assert measured["joules of the last answer"] == "2.500"
    assert "watts at rest" not in measured
    broken = Health(State.FAILED, reason="it broke")
    assert convert.diagnosis(broken, {}, 0)[:2] == (convert.ERROR, "failed: it broke")


# -- files that ROS alone would read ---------------------------------------------------------------


def fields_of(file: str, part: int = 0) -> list[str]:
    """Names of the fields of an interface; of a service or an action, of one part of it."""
    text = (INTERFACES / file).read_text(encoding="utf-8").split("\n---\n")[part]
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [line[1] for line in lines if line]


def test_the_service_asks_what_the_action_does() -> None:
    assert fields_of("srv/Ask.srv") == fields_of("action/Think.action") == list(vars(goal()))
    told = fields_of("srv/Ask.srv", part=1)
    assert told == fields_of("action/Think.action", part=1) == list(vars(result()))


def test_every_interface_is_built() -> None:
    cmake = (INTERFACES / "CMakeLists.txt").read_text(encoding="utf-8")
    there = {
        path.relative_to(INTERFACES).as_posix()
        for folder in ("msg", "srv", "action")
        for path in (INTERFACES / folder).iterdir()
    }
    assert set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', cmake)) == there


def parameters() -> Iterator[tuple[str, str]]:
    """Names and values of the parameter file."""
    yaml = (ROS2 / "edgereason_ros" / "config" / "think.yaml").read_text(encoding="utf-8")
    group = ""
    for line in yaml.splitlines()[3:]:
        name, _, value = line.partition("#")[0].strip().partition(":")
        if line.startswith(" " * 6):
            yield f"{group}.{name}", value.strip()
        elif value.strip():
            yield name, value.strip()
        else:
            group = name


def test_the_parameter_file_has_the_defaults_of_the_node() -> None:
    tree = ast.parse((ROS2 / "edgereason_ros/edgereason_ros/node.py").read_text(encoding="utf-8"))
    (declared,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS"
    )
    said = {name: value.strip('"') for name, value in parameters()}
    assert said == {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in declared.items()
    }


@pytest.mark.parametrize("package", ["edgereason_ros", "edgereason_interfaces"])
def test_package_files_can_be_read(package: str) -> None:
    root = ElementTree.parse(ROS2 / package / "package.xml").getroot()
    assert root.findtext("name") == package
    kind = root.findtext("export/build_type")
    assert kind == ("ament_python" if package == "edgereason_ros" else "ament_cmake")


def test_the_launch_file_can_be_read() -> None:
    """There is no `launch` on the package index, so it is not run here."""
    text = (ROS2 / "edgereason_ros" / "launch" / "think.launch.py").read_text(encoding="utf-8")
    assert "generate_launch_description" in {
        node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)
    }


# -- a planner in the node -------------------------------------------------------------------------


def test_goals_with_the_way_agile_read_what_the_nodes_planner_thinks() -> None:
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=2)) as station:
        planner = NodePlanner(station, think_tokens=64)
        agile = convert.request_of(goal(way="agile"), DEFAULTS)
        assert planner.told(agile) == agile  # nobody thinks yet
        planner.look("A wall is ahead. Which way?")
        time.sleep(0.05)
        planner.look("A wall is ahead. Which way?")
        told = planner.told(agile)
        assert told.options["age"] == 1
        assert told.options["thoughts"].startswith("There")
        answer = station.submit(told).outcome(10).answer
        assert answer is not None
        for request in (goal(way="think"), goal(way="agile", options=["thoughts=mine"])):
            asked = convert.request_of(request, DEFAULTS)
            assert planner.told(asked) == asked
        planner.close()


def test_the_nodes_planner_begins_anew_with_a_model_that_was_opened_anew() -> None:
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=2)) as station:
        planner = NodePlanner(station, think_tokens=64)
        planner.look("A wall is ahead. Which way?")
        station.stop()
        planner.look("nobody is there")
        station.start()
        planner.look("A wall is ahead. Which way?")
        agile = convert.request_of(goal(way="agile"), DEFAULTS)
        assert planner.told(agile).options["age"] == 0
        planner.close()

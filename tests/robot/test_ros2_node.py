"""The node with real ROS 2: goals, cancels, priorities, deadlines, states, a timer beside it.

Skips where rclpy or the built messages are missing; `robot/ros2/install_from_index.sh` has both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from support.places import SCRIPTED

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
pytest.importorskip("edgereason_interfaces.action", reason="the messages are not built here")

from diagnostic_msgs.msg import DiagnosticArray
from edgereason_interfaces.action import Think
from edgereason_interfaces.srv import Ask
from rclpy.context import Context
from rclpy.parameter import Parameter
from std_msgs.msg import String

from edgereason.engines import scripted
from edgereason.engines.scripted import Config
from support.ros2_world import (
    ABORTED,
    CANCELED,
    DOMAINS,
    SUCCEEDED,
    ThinkNode,
    World,
    a_thousand,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what rclpy imports


def paced(monkeypatch: pytest.MonkeyPatch, sleep_ms: float, fail_at_step: int = -1) -> None:
    """Steps of the scripted engine take so long; only the first that is opened fails."""
    open_fast, fails = scripted.open, iter([fail_at_step])

    def open_slow(bundle: Any, config: Config) -> Any:
        step = next(fails, -1)
        return open_fast(bundle, replace(config, sleep_ms=sleep_ms, fail_at_step=step))

    monkeypatch.setattr(scripted, "open", open_slow)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Each step takes 5 ms."""
    paced(monkeypatch, 5)
    made = World(SCRIPTED)
    yield made
    made.close()


def test_a_goal_gives_feedback_and_a_result(world: World) -> None:
    told: list[Any] = []
    goal = world.send(lambda message: told.append(message.feedback), deadline_ms=8000.0)
    assert goal.accepted
    ended = world.of(goal.get_result_async())
    assert (ended.status, ended.result.answer, ended.result.ended_by) == (SUCCEEDED, "51", "stop")
    assert ended.result.figures.reasoning_tokens == 30
    assert ended.result.figures.late_ms == 0
    assert told
    assert ended.result.reasoning.startswith(told[0].reasoning.strip())
    assert 0 < told[0].left_ms < 8000


def test_a_cancel_ends_a_goal_within_a_moment(world: World) -> None:
    goal = world.send(think_tokens=-1, prompt="Think for ever.")
    result = goal.get_result_async()
    begin = time.monotonic()
    assert len(world.of(goal.cancel_goal_async()).goals_canceling) == 1
    ended = world.of(result)
    assert (ended.status, ended.result.ended_by) == (CANCELED, "cancelled")
    assert time.monotonic() - begin < 1.0


def test_a_cancel_that_comes_before_the_goal_has_begun_counts(world: World) -> None:
    """The client sends both before the node hears of either."""
    sent = [world.think.send_goal_async(Think.Goal(prompt="Think.", way="think")) for _ in range(8)]
    cancelled = []
    for future in sent:
        goal = world.of(future)
        cancelled.append((goal.cancel_goal_async(), goal.get_result_async()))
    for asked, result in cancelled:
        world.of(asked)
        assert world.of(result).status == CANCELED


def test_an_urgent_goal_goes_before_a_long_one_which_then_goes_on(world: World) -> None:
    long = world.send(think_tokens=-1)
    result = long.get_result_async()
    urgent = world.send(priority=10, think_tokens=4)
    assert world.of(urgent.get_result_async()).status == SUCCEEDED
    assert not result.done()
    assert world.of(result).result.answer == "51"


def test_a_deadline_counts_from_the_stamp(world: World) -> None:
    now = world.node.get_clock().now()
    stamp = (now - rclpy.duration.Duration(seconds=2)).to_msg()
    in_time = world.of(world.send(stamp=stamp, deadline_ms=2300.0).get_result_async())
    assert in_time.result.figures.total_ms < 400
    over = world.of(world.send(stamp=stamp, deadline_ms=1500.0).get_result_async())
    assert (over.status, over.result.ended_by) == (ABORTED, "error")
    assert "was over when the question arrived" in over.result.message


def test_a_goal_that_makes_no_sense_is_told_why(world: World) -> None:
    ended = world.of(world.send(way="thnk").get_result_async())
    assert ended.status == ABORTED
    assert "thnk" in ended.result.message


def test_a_goal_with_a_schema_is_answered_in_json(world: World) -> None:
    pytest.importorskip("llguidance", reason="grammars need the extra `grammar`")
    ended = world.of(world.send(json_schema='{"type": "boolean"}').get_result_async())
    assert ended.result.answer in ("true", "false")


def test_the_service_answers_in_one_piece(world: World) -> None:
    client = world.client.create_client(Ask, "ask")
    assert world.until(client.service_is_ready)
    request = Ask.Request(prompt="What is 17 * 3?", way="think", answer_tokens=8)
    both = [client.call_async(request) for _ in range(2)]  # side by side
    assert [world.of(future).answer for future in both] == ["51", "51"]


def test_goals_read_what_the_nodes_planner_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 2)
    world = World(SCRIPTED, planner_tokens=64)
    states = world.client.create_publisher(String, "state", 10)
    assert world.until(lambda: states.get_subscription_count() == 1)
    alone = world.of(world.send(way="agile").get_result_async()).result.figures.prompt_tokens
    for _ in range(2):
        states.publish(String(data="A wall is ahead. Which way?"))
        world.until(lambda: False, 0.1)
    told = world.of(world.send(way="agile").get_result_async()).result.figures.prompt_tokens
    assert told > alone + len("There is a wall")
    world.close()


def test_states_of_the_node(world: World) -> None:
    long = world.send(think_tokens=-1, prompt="Think for ever.")
    result = long.get_result_async()
    world.node.trigger_deactivate()
    assert world.of(result).status == ABORTED
    assert not world.send().accepted
    world.node.trigger_activate()
    assert world.of(world.send().get_result_async()).result.answer == "51"
    world.node.trigger_deactivate()
    world.node.trigger_cleanup()
    world.node.trigger_configure()
    world.node.trigger_activate()
    assert world.until(world.think.server_is_ready)
    assert world.of(world.send().get_result_async()).result.answer == "51"


def test_parameters_that_would_do_nothing_are_refused(world: World) -> None:
    told = [Parameter("think_tokens", value=5)]
    (found,) = world.node.set_parameters(told)
    assert not found.successful
    assert found.reason == "think_tokens: read when the node is configured, clean it up first"
    world.node.trigger_deactivate()
    world.node.trigger_cleanup()
    assert world.node.set_parameters(told)[0].successful
    world.node.trigger_configure()
    world.node.trigger_activate()
    assert world.until(world.think.server_is_ready)
    ended = world.of(world.send(think_tokens=-2).get_result_async())
    assert ended.result.figures.reasoning_tokens == 5


def test_a_stalled_model_is_told_and_turns_goals_down(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 400)
    world = World(SCRIPTED, watchdog_s=0.1, diagnostics_hz=20.0)
    told: list[str] = []
    world.client.create_subscription(
        DiagnosticArray, "/diagnostics", lambda array: told.append(array.status[0].message), 10
    )
    goal = world.send()
    assert world.until(lambda: any(one.startswith("stalled: no step for") for one in told))
    ended = world.of(world.send().get_result_async())
    assert ended.status == ABORTED
    assert "the model is stalled" in ended.result.message
    goal.cancel_goal_async()
    assert world.until(lambda: told[-1] == "ready, 0 running" or "failed" in told[-1])
    world.close()


def test_a_model_that_is_not_there_leaves_the_node_unconfigured() -> None:
    context = Context()
    rclpy.init(context=context, domain_id=next(DOMAINS))
    told = [Parameter("model.path", value="no-such-model")]
    node = ThinkNode(context=context, parameter_overrides=told)
    assert node.trigger_configure().name == "FAILURE"
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_broken_model_is_told_at_once_and_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 1, fail_at_step=30)
    world = World(SCRIPTED, diagnostics_hz=20.0)
    levels: list[bytes] = []
    world.client.create_subscription(
        DiagnosticArray, "/diagnostics", lambda array: levels.append(array.status[0].level), 10
    )
    ended = world.of(world.send(think_tokens=-1).get_result_async())
    assert (ended.status, ended.result.ended_by) == (ABORTED, "error")
    assert world.until(lambda: b"\x02" in levels)
    assert world.until(lambda: world.node._station.health.num_restarts == 1)
    assert world.of(world.send().get_result_async()).result.answer == "51"
    world.close()


def test_of_a_thousand_goals_with_cancels_and_deadlines_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paced(monkeypatch, 0.2)
    world = World(SCRIPTED, most_requests=1100)
    a_thousand(world, (20, 2000))
    world.close()

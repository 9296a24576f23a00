"""The node with real ROS 2: goals, cancels, priorities, deadlines, states, a timer beside it.

Skips where rclpy or the built messages are missing; `robot/ros2/install_from_index.sh` has both.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from support.places import ROOT, SCRIPTED

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
pytest.importorskip("edgereason_interfaces.action", reason="the messages are not built here")
sys.path.insert(0, str(ROOT / "robot" / "ros2" / "edgereason_ros"))

from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from edgereason_interfaces.action import Think
from edgereason_interfaces.srv import Ask
from edgereason_ros.node import ThinkNode, queues
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import String

from edgereason.bench.harness.runner import OthersMeter
from edgereason.engines import scripted
from edgereason.engines.scripted import Config

SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_CANCELED,
    GoalStatus.STATUS_ABORTED,
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what rclpy imports
_DOMAINS = iter(range(20, 100))  # two servers on one domain would both answer


class World:
    """A node, a client, and the executor of both."""

    def __init__(self, model: str, **parameters: Any) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=next(_DOMAINS))
        parameters["model.path"] = model
        told = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = ThinkNode(context=self.context, parameter_overrides=told)
        self.client = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.client)
        self.off: dict[float, float] = {}  # of a timer, by quantile
        self.think = ActionClient(self.client, Think, "think", **queues(64))
        assert self.node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        self.node.trigger_activate()
        assert self.until(self.think.server_is_ready)

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self.executor.spin_once(timeout_sec=0.02)
        return False

    def of(self, future: Any) -> Any:
        assert self.until(future.done)
        return future.result()

    def send(self, feedback: Callable[[Any], None] | None = None, **fields: Any) -> Any:
        """-> the goal's handle, once it is accepted or rejected."""
        asked = {"prompt": "What is 17 * 3?", "way": "think", "answer_tokens": 8, **fields}
        return self.of(self.think.send_goal_async(Think.Goal(**asked), feedback))

    def close(self) -> None:
        self.node.close()
        self.think.destroy()
        self.executor.shutdown()
        self.node.destroy_node()
        self.client.destroy_node()
        rclpy.shutdown(context=self.context)


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
    rclpy.init(context=context, domain_id=next(_DOMAINS))
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


class Ended(NamedTuple):
    """A goal that ended. `late_ms`: after its deadline, by the node's clock."""

    status: int
    ended_by: str
    late_ms: float


def a_thousand(world: World, deadlines_ms: tuple[float, float]) -> list[Ended]:
    """Twenty at once, half with a deadline, a third cancelled, of three priorities. Waits for each:
    one that is lost fails the test.
    """
    generator = random.Random(5)
    ended: list[Ended] = []
    for _ in range(50):
        futures = [
            world.think.send_goal_async(
                Think.Goal(
                    prompt="What is 17 * 3?",
                    way="think",
                    think_tokens=8,
                    answer_tokens=8,
                    deadline_ms=generator.choice([0.0, generator.uniform(*deadlines_ms)]),
                    priority=generator.randrange(3),
                )
            )
            for _ in range(20)
        ]
        goals = [world.of(future) for future in futures]
        results = [goal.get_result_async() for goal in goals]
        for goal in goals:
            if generator.random() < 0.3:
                goal.cancel_goal_async()
        for one in map(world.of, results):
            ended.append(Ended(one.status, one.result.ended_by, one.result.figures.late_ms))
    assert len(ended) == 1000
    assert {one.status for one in ended} <= {SUCCEEDED, CANCELED, ABORTED}
    assert {SUCCEEDED, CANCELED} <= {one.status for one in ended}
    health = world.node._station.health
    assert (health.num_asked, health.num_running, health.num_failed) == (1000, 0, 0)
    return ended


def test_of_a_thousand_goals_with_cancels_and_deadlines_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paced(monkeypatch, 0.2)
    world = World(SCRIPTED, most_requests=1100)
    a_thousand(world, (20, 2000))
    world.close()


# -- with a real model, whose thread has a core to itself: `-m slow`, EDGEREASON_ROS_MODEL ---------


class LongestStep:
    """Watches the steps of a model that is open: how long the longest took."""

    def __init__(self, world: World) -> None:
        self._reasoner = world.node._station.reasoner
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.ms = 0.0

    def _watch(self) -> None:
        before = self._reasoner.stats()
        while not self._ends.wait(0.002):
            now = self._reasoner.stats()
            steps = now["num_steps"] - before["num_steps"]
            if steps:
                self.ms = max(self.ms, (now["decode_ms"] - before["decode_ms"]) / steps)
                before = now

    def __enter__(self) -> LongestStep:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()


@pytest.fixture
def real() -> Iterator[World]:
    """The threads that decode on the last core of this process, all its others on the first."""
    model, cores = os.environ.get("EDGEREASON_ROS_MODEL"), sorted(os.sched_getaffinity(0))
    if model is None:
        pytest.skip("EDGEREASON_ROS_MODEL names no model")
    if len(cores) < 2:
        pytest.skip("the executor and the model need a core each")
    told = {"cpu.n_threads": 1, "cpu.cores": str(cores[-1]), "most_requests": 1100}
    made = World(model, **told)
    try:
        for thread in map(int, os.listdir("/proc/self/task")):
            if os.sched_getaffinity(thread) != {cores[-1]}:
                os.sched_setaffinity(thread, cores[:1])
        yield made
    finally:
        made.close()
        os.sched_setaffinity(0, cores)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(1200)
def test_of_a_thousand_goals_of_a_real_model_none_is_late_by_more_than_a_step(real: World) -> None:
    meter = OthersMeter()
    with LongestStep(real) as step:
        ended = a_thousand(real, (50, 4000))
    counts = Counter(one.ended_by for one in ended)
    late = [one.late_ms for one in ended if one.late_ms > 0]
    told = (
        f"1000 goals: {dict(counts)}; late {len(late)}, by {max(late, default=0):.1f} ms at most; "
        f"longest step {step.ms:.1f} ms; others kept {meter.others():.2f} cores busy"
    )
    print(told)
    assert max(late, default=0) <= step.ms, told


def ticking(world: World, seconds: float) -> str:
    """How far the periods of a timer of 100 Hz are off, in the node's executor."""
    meter, ticks = OthersMeter(), list[float]()
    timer = world.node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    time.sleep(seconds)
    world.node.destroy_timer(timer)
    off = sorted(abs(1000 * (after - before) - 10) for before, after in pairwise(ticks))
    world.off = {share: off[int(share * len(off))] for share in (0.5, 0.99, 0.999)}
    shown = {share: round(ms, 3) for share, ms in world.off.items()}
    return (
        f"{len(off)} periods, ms off: {shown}, most {off[-1]:.3f}; "
        f"others kept {meter.others():.2f} cores busy"
    )


@pytest.mark.slow
@pytest.mark.model
def test_a_timer_of_100_hz_keeps_its_period_while_the_model_thinks(real: World) -> None:
    """In the same process and executor. The bound is for a machine that nobody else uses: what is
    told besides is how the timer does without the model.
    """
    spinning = threading.Thread(target=real.executor.spin)
    goals = [  # one alone might be done too soon
        real.send(think_tokens=-1, prompt=f"Explain why ships float on a {place}.")
        for place in ("sea", "lake", "river", "bath")
    ]
    spinning.start()
    thinking = ticking(real, 10)
    health = real.node._station.health
    off = real.off
    for goal in goals:
        goal.cancel_goal_async()
    while real.node._station.health.num_running:
        time.sleep(0.05)
    time.sleep(0.5)  # what has ended is told
    alone = ticking(real, 10)
    real.executor.shutdown()
    spinning.join()
    print(f"thinking: {thinking}\nalone: {alone}")
    assert health.num_running > 0, "the model was done before the timer was"
    assert off[0.99] < 1, f"thinking: {thinking}\nalone: {alone}"

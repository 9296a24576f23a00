"""A node of ROS 2 and a client of it in one executor, for tests that have skipped without ROS."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import rclpy
from action_msgs.msg import GoalStatus
from edgereason_interfaces.action import Think
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from support.places import ROOT

sys.path.insert(0, str(ROOT / "robot" / "ros2" / "edgereason_ros"))

from edgereason_ros.node import ThinkNode, queues

SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_CANCELED,
    GoalStatus.STATUS_ABORTED,
)
DOMAINS = iter(range(20, 100))  # two servers on one domain would both answer


class World:
    """A node, a client, and the executor of both."""

    def __init__(self, model: str, **parameters: Any) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=next(DOMAINS))
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

"""The ROS 2 node with a real model, whose thread has a core to itself: goals and a timer.

EDGEREASON_ROS_MODEL=smollm2-135m python -m pytest tests/robot/test_ros2_real.py -s
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
pytest.importorskip("edgereason_interfaces.action", reason="the messages are not built here")

from edgereason.bench.harness.runner import OthersMeter
from support.ros2_world import World, a_thousand

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what rclpy imports
    pytest.mark.slow,
    pytest.mark.model,
]


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


def test_a_timer_of_100_hz_keeps_its_period_while_the_model_thinks(real: World) -> None:
    """In the same process and executor. The bound is for a machine that nobody else uses: what is
    told besides is how the timer does without the model.
    """
    spinning = threading.Thread(target=real.executor.spin)
    goals = [  # a few would be done too soon
        real.send(think_tokens=-1, prompt=f"Explain in {number} words why ships float.")
        for number in range(20, 60)
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

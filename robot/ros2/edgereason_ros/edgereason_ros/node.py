"""The lifecycle node: the action `think`, the service `ask`, figures on /diagnostics.

    ros2 run edgereason_ros think --ros-args -p model.path:=smollm2-135m

The model runs on threads of its own; callbacks here only start, cancel and report. Goals wait as
coroutines, so one thread of the executor serves all of them. `EventsExecutor` of rclpy before 10
does not know coroutines: do not use it. Knows how to speak ROS; what is said is in `convert.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from edgereason_interfaces.action import Think
from edgereason_interfaces.srv import Ask
from rcl_interfaces.msg import SetParametersResult
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_services_default
from rclpy.task import Future
from std_msgs.msg import String

from edgereason import Reasoner
from edgereason.errors import EdgereasonError
from edgereason.robot import Outcome, Running, State, Station

from . import convert
from .planner import NodePlanner

PARAMETERS = {
    "autostart": True,
    "model.path": "smollm2-135m",
    "context.n_ctx": 4096,
    "cpu.n_threads": 0,
    "cpu.cores": "",
    "cpu.nice": 0,
    "memory.use_mlock": False,
    "gpu.n_gpu_layers": -1,
    "engine": "",
    "way": "auto",
    "think_tokens": -1,
    "answer_tokens": 256,
    "most_requests": 64,
    "planner_tokens": 0,
    "feedback_hz": 10.0,
    "diagnostics_hz": 1.0,
    "watchdog_s": 30.0,
}


def deep(depth: int) -> QoSProfile:
    """A service that holds so many requests. The default is 10: of more at once the oldest is lost,
    and whoever asked waits for ever.
    """
    return QoSProfile(
        depth=depth,
        reliability=qos_profile_services_default.reliability,
        durability=qos_profile_services_default.durability,
    )


def queues(depth: int) -> dict[str, QoSProfile]:
    """The same for the three services of an action, on either side."""
    return {f"{name}_service_qos_profile": deep(depth) for name in ("goal", "cancel", "result")}


class ThinkNode(LifecycleNode):
    """Unconfigured: no model. Inactive: it is open, goals are rejected. Active: it answers."""

    def __init__(self, **options: Any) -> None:
        super().__init__("edgereason", **options)
        for name, value in PARAMETERS.items():
            self.declare_parameter(name, value)
        self.add_on_set_parameters_callback(self._may_set)
        self._station: Station | None = None
        self._planner: NodePlanner | None = None
        self._running: dict[bytes, tuple[ServerGoalHandle, Running]] = {}
        self._asked: set[Running] = set()  # through the service
        self._is_active = False
        self._parts: list[Callable[[], Any]] = []  # how to take down what `on_configure` built

    def _told(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _may_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """They are read when the node is configured; a later change would do nothing."""
        names = [each.name for each in parameters if each.name in PARAMETERS]
        if self._station is None or not names:
            return SetParametersResult(successful=True)
        why = f"{', '.join(names)}: read when the node is configured, clean it up first"
        return SetParametersResult(successful=False, reason=why)

    # -- the states of the node --------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            station = Station(self._open, stall_s=self._told("watchdog_s"))
            station.start()
        except EdgereasonError as error:
            self.get_logger().error(f"the model cannot be opened: {error}")
            return TransitionCallbackReturn.FAILURE
        self._station = station
        self._defaults = convert.Defaults(
            self._told("way"), self._told("think_tokens"), self._told("answer_tokens")
        )
        if self._told("planner_tokens"):
            self._planner = NodePlanner(station, self._told("planner_tokens"))
        self._build()
        return TransitionCallbackReturn.SUCCESS

    def _build(self) -> None:
        """What speaks ROS; `close` takes it down again."""
        group = ReentrantCallbackGroup()  # a waiting coroutine must not hold up the others
        think = ActionServer(
            self,
            Think,
            "think",
            self._think,
            goal_callback=self._may_begin,
            cancel_callback=self._cancel,
            callback_group=group,
            **queues(self._told("most_requests")),
        )
        ask = self.create_service(
            Ask,
            "ask",
            self._ask,
            callback_group=group,
            qos_profile=deep(self._told("most_requests")),
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        timers = [
            self.create_timer(1 / self._told("feedback_hz"), self._feed_back),
            self.create_timer(1 / self._told("diagnostics_hz"), self._diagnose),
        ]
        states = self.create_subscription(String, "state", self._look, 10)
        self._parts = [
            think.destroy,
            partial(self.destroy_subscription, states),
            partial(self.destroy_service, ask),
            partial(self.destroy_publisher, self._diagnostics),
            *(partial(self.destroy_timer, timer) for timer in timers),
        ]

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """What runs is cancelled, and its goals abort."""
        self._is_active = False
        for running in [*(running for _, running in self._running.values()), *self._asked]:
            running.cancel()
        if self._planner is not None:
            self._planner.close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = False
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Closes the model, then what speaks ROS. Before the context is shut down."""
        station, self._station = self._station, None
        self._planner = None
        if station is not None:
            station.stop()
        for take_down in self._parts:
            take_down()
        self._parts = []

    def _open(self) -> Reasoner:
        options: dict[str, Any] = {}
        if self._told("gpu.n_gpu_layers") != -1:
            options["gpu_layers"] = self._told("gpu.n_gpu_layers")
        return Reasoner.open(
            self._told("model.path"),
            engine=self._told("engine") or None,
            threads=self._told("cpu.n_threads"),
            cores=convert.cores_of(self._told("cpu.cores")),
            nice=self._told("cpu.nice"),
            lock_memory=self._told("memory.use_mlock"),
            context=self._told("context.n_ctx"),
            most_requests=self._told("most_requests"),
            **options,
        )

    # -- the action --------------------------------------------------------------------------------

    def _may_begin(self, goal: Think.Goal) -> GoalResponse:
        if self._is_active:
            return GoalResponse.ACCEPT
        self.get_logger().warning("a goal was rejected: the node is not active")
        return GoalResponse.REJECT

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        """Also of a goal that has not begun: `_think` then asks for its cancellation itself."""
        found = self._running.get(bytes(handle.goal_id.uuid))
        if found is not None:
            found[1].cancel()
        return CancelResponse.ACCEPT

    async def _think(self, handle: ServerGoalHandle) -> Think.Result:
        key, result = bytes(handle.goal_id.uuid), Think.Result()
        try:
            running = self._submit(handle.request)
        except EdgereasonError as error:
            handle.abort()
            return convert.fill_error(result, error)
        self._running[key] = (handle, running)
        if handle.is_cancel_requested:
            running.cancel()
        outcome = await self._outcome(running)
        del self._running[key]
        end = convert.verdict(outcome, cancel_requested=handle.is_cancel_requested)
        getattr(handle, end)()
        return convert.fill(result, outcome)

    def _submit(self, asked: Think.Goal | Ask.Request) -> Running:
        if self._station is None:
            raise EdgereasonError("the node has no model open", "configure and activate it")
        request = convert.request_of(asked, self._defaults)
        if self._planner is not None:
            request = self._planner.told(request)
        now = self.get_clock().now().nanoseconds
        return self._station.submit(request, convert.age_ms(asked.stamp, now))

    def _look(self, state: String) -> None:
        if self._planner is None or not self._is_active:
            return
        try:
            self._planner.look(state.data)
        except EdgereasonError as error:
            self.get_logger().warning(f"the planner ended: {error}")

    def _outcome(self, running: Running) -> Future:
        """Resolved on the executor's thread, which this wakes."""
        executor = self.executor
        future = Future(executor=executor)

        def ended(outcome: Outcome) -> None:
            executor.create_task(future.set_result, outcome)

        running.add_done_callback(ended)
        return future

    def _feed_back(self) -> None:
        for handle, running in list(self._running.values()):
            progress = running.progress()
            if progress.changed and handle.is_active:
                handle.publish_feedback(convert.fill_feedback(Think.Feedback(), progress))

    # -- the service, and how things are -----------------------------------------------------------

    async def _ask(self, asked: Ask.Request, response: Ask.Response) -> Ask.Response:
        if not self._is_active:
            error = EdgereasonError("the node is not active", "activate it first")
            return convert.fill_error(response, error)
        try:
            running = self._submit(asked)
        except EdgereasonError as error:
            return convert.fill_error(response, error)
        self._asked.add(running)
        outcome = await self._outcome(running)
        self._asked.discard(running)
        return convert.fill(response, outcome)

    def _diagnose(self) -> None:
        """Also the watchdog: a failed model is opened anew, a stalled one is told."""
        if self._station is None:
            return
        state = self._station.watch()
        if state in (State.OPENING, State.STALLED):
            self.get_logger().warning(f"the model is {state.value}: {self._station.health.reason}")
        reasoner = self._station.reasoner
        stats = reasoner.stats() if reasoner is not None and not reasoner.closed else {}
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        level, message, values = convert.diagnosis(self._station.health, stats, load)
        status = DiagnosticStatus(
            level=bytes([level]),
            name=f"{self.get_name()}: reasoning",
            message=message,
            hardware_id=self._told("model.path"),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main(arguments: list[str] | None = None) -> None:
    rclpy.init(args=arguments)
    node = ThinkNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value:
            node.trigger_configure()
            node.trigger_activate()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

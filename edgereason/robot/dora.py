"""A node for dora-rs: prompts in and texts out, or goals with feedback, cancel and results.

    nodes:
      - id: reasoner
        path: python
        args: -m edgereason.robot.dora --model smollm2-135m --set way=think
        inputs: {text: ears/text, goal: planner/goal, cancel: planner/cancel}
        outputs: [text, feedback, result]

What an input is, the beginning of its name says, so that each client can have its own:
`text...` is a prompt, answered on `text`; `goal...` a JSON object, a `Question` without its id,
answered on `result`; `cancel...` and `stop_thinking...` end one. They name it by `goal_id` in their
metadata, which come back with all that is said, and with `goal_status` once it is over, as dora's
pattern for actions has it. Deadlines count from the timestamp of the event.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Protocol

from edgereason.config import assignments, build
from edgereason.errors import EdgereasonError, UnsupportedError, UsageError
from edgereason.records import StopReason
from edgereason.robot.question import Question, json_object, told, told_so_far
from edgereason.robot.station import Outcome, Running, Station
from edgereason.runtime.reasoner import Reasoner

KINDS: Final = ("text", "goal", "cancel", "stop_thinking")  # of inputs
_TOLD_ON: Final = {"text": "text", "goal": "result"}  # the output that an input needs
_EARLY: Final = 256  # goals that were cancelled before they came: inputs have a queue each


class Node(Protocol):
    """What is used of `dora.Node`. One thread may wait in `next` while another one sends."""

    def next(self) -> dict[str, Any] | None: ...

    def send_output(self, output_id: str, data: Any, metadata: dict[str, Any]) -> None: ...

    def node_config(self) -> dict[str, Any]: ...

    def log_error(self, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on its way, and what to send with whatever is said about it."""

    question: Question
    output: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Ended:
    asked: Asked
    outcome: Outcome


class Goals:
    """Answers what comes to one node, until its dataflow stops.

    Args:
        defaults: keys of `Question` that hold where a question does not say.
        period_s: how often feedback is sent, where there is new text.
    """

    def __init__(
        self, station: Station, node: Node, defaults: Mapping[str, Any], period_s: float = 0.1
    ) -> None:
        self._station = station
        self._node = node
        self._defaults = defaults
        self._period_s = period_s
        self._outputs = _checked_outputs(node.node_config())
        self._inbox: SimpleQueue[dict[str, Any] | _Ended | None] = SimpleQueue()
        self._running: dict[str, tuple[Asked, Running]] = {}
        self._early: OrderedDict[str, None] = OrderedDict()

    def serve(self) -> None:
        """Runs until the dataflow stops, or nobody is left to ask and all is answered."""
        Thread(target=self._read, name="edgereason-dora", daemon=True).start()
        is_open, due = True, time.monotonic() + self._period_s
        while is_open or self._running:
            try:
                event = self._inbox.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                due = time.monotonic() + self._period_s
                self._station.watch()
                self._feed_back()
                continue
            if isinstance(event, _Ended):
                self._tell(event.asked, event.outcome)
            elif event is None or event["type"] == "STOP":
                is_open = False
                if event is not None and event["id"] != "ALL_INPUTS_CLOSED":
                    self._cancel_all()
            elif event["type"] == "INPUT":
                self._take(event)
            elif event["type"] == "ERROR":
                self._node.log_error(str(event["error"]))

    def _read(self) -> None:
        """On a thread of its own: a time-out of dora's `next` costs an error with a backtrace."""
        while True:
            event = self._node.next()
            self._inbox.put(event)
            if event is None or event["type"] == "STOP":
                return

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = _kind_of(event["id"])
        sent = event["metadata"]
        metadata = {key: value for key, value in sent.items() if key != "timestamp"}
        goal = str(metadata.get("goal_id", ""))
        if kind in ("cancel", "stop_thinking"):
            self._end(kind, goal)
            return
        if goal in self._running:
            self._node.log_error(f"the goal {goal} runs already; it goes on, this one is dropped")
            return
        goal = metadata["goal_id"] = goal or str(uuid.uuid4())
        try:
            text = _text_of(event["value"], event["id"])
            given = {"prompt": text} if kind == "text" else json_object(text, "a goal")
            if "id" in given:
                raise UsageError("the id of a goal is `goal_id` in its metadata")
            sent_ms = 1000 * sent["timestamp"].timestamp()
            values = {**self._defaults, "sent_ms": sent_ms, **given, "id": goal}
            question = build(Question, values, what="key")
        except EdgereasonError as error:
            question = Question(goal)
            self._tell(Asked(question, _TOLD_ON[kind], metadata), Outcome(error=error))
            return
        self._ask(Asked(question, _TOLD_ON[kind], metadata))

    def _ask(self, asked: Asked) -> None:
        goal = asked.question.id
        try:
            running = self._station.submit(
                asked.question.request(), asked.question.age_ms(1000 * time.time())
            )
        except EdgereasonError as error:
            self._tell(asked, Outcome(error=error))
            return
        self._running[goal] = (asked, running)
        if goal in self._early:
            del self._early[goal]
            running.cancel()
        running.add_done_callback(lambda outcome: self._inbox.put(_Ended(asked, outcome)))

    def _end(self, what: str, goal: str) -> None:
        if goal in self._running:
            getattr(self._running[goal][1], what)()
        elif what == "cancel" and goal:
            self._early[goal] = None
            while len(self._early) > _EARLY:
                self._early.popitem(last=False)

    def _cancel_all(self) -> None:
        for _, running in self._running.values():
            running.cancel()

    def _feed_back(self) -> None:
        if "feedback" not in self._outputs:
            return
        for asked, running in list(self._running.values()):
            if asked.output == "result" and (progress := running.progress()).changed:
                self._send("feedback", told_so_far(asked.question, progress), asked.metadata)

    def _tell(self, asked: Asked, outcome: Outcome) -> None:
        self._running.pop(asked.question.id, None)
        said = told(asked.question, outcome)
        metadata = {**asked.metadata, "goal_status": _status_of(outcome)}
        if asked.output == "result":
            self._send("result", said, metadata)
            return
        if outcome.answer is None:
            metadata["error"] = said["error"]["message"]
            self._node.log_error(f"no answer: {metadata['error']}")
        self._send_text("text", said.get("answer", ""), metadata)

    def _send(self, output: str, said: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        self._send_text(output, json.dumps(said), metadata)

    def _send_text(self, output: str, text: str, metadata: Mapping[str, Any]) -> None:
        import pyarrow

        self._node.send_output(output, pyarrow.array([text]), dict(metadata))


def _kind_of(name: str) -> str:
    for kind in KINDS:
        if name.startswith(kind):
            return kind
    raise UsageError(
        f"the input {name!r} begins with none of {', '.join(KINDS)}",
        "its name says what it is: text-1, goal-of-planner",
    )


def _checked_outputs(config: Mapping[str, Any]) -> set[str]:
    """Those of the dataflow. Raises `UsageError` where an answer would have nowhere to go."""
    outputs = set(config["outputs"])
    for name in config["inputs"]:
        needed = _TOLD_ON.get(_kind_of(name))
        if needed is not None and needed not in outputs:
            raise UsageError(
                f"the input {name!r} is answered on the output {needed!r}, which the node has not",
                f"add {needed} to its outputs in the dataflow",
            )
    return outputs


def _text_of(value: Any, name: str) -> str:
    """The one text of an Arrow array."""
    texts = value.to_pylist()
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise UsageError(
            f"the input {name!r} takes an array of one text, got {len(texts)} of {value.type}"
        )
    return texts[0]


def _status_of(outcome: Outcome) -> str:
    if outcome.answer is None or outcome.answer.finish is StopReason.REFUSED:
        return "aborted"
    return "canceled" if outcome.answer.finish is StopReason.CANCELLED else "succeeded"


def _connected() -> Node:
    try:
        import dora
        import pyarrow  # noqa: F401  # what is sent is made of it
    except ImportError as error:
        raise UnsupportedError(
            f"a node needs dora-rs and pyarrow: {error}", "pip install 'edgereason[dora]'"
        ) from error
    node: Node = dora.Node()
    return node


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edgereason.robot.dora", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument(
        "--cores", type=int, nargs="+", default=(), help="of the decode threads, such as 2 3"
    )
    parser.add_argument("--nice", type=int, default=0, help="of the decode threads")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="where a question does not say",
    )
    options = parser.parse_args(arguments)
    try:
        defaults = assignments(options.set)
        build(Question, {**defaults, "id": ""}, what="key")
        opened = partial(
            Reasoner.open,
            options.model,
            context=options.context,
            cores=options.cores,
            nice=options.nice,
        )
        with Station(opened) as station:
            Goals(station, _connected(), defaults).serve()
    except KeyboardInterrupt:  # a terminal sends it to all nodes
        return 0
    except EdgereasonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

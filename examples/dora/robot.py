"""Asks a sum at each tick, with two seconds to answer it, and cancels every third.

Waits for nothing: what is lost where the node is started anew has no answer, and is not missed.
"""

from __future__ import annotations

import json
import uuid

import pyarrow
from dora import Node

NUM_GOALS, NUM_TICKS = 6, 8
TEXT = "What is {}+8-23+60?"


def ask(node: Node, tick: int) -> None:
    question = {"prompt": TEXT.format(40 + tick), "deadline_ms": 2000}
    metadata = {"goal_id": str(uuid.uuid4())}
    node.send_output("goal", pyarrow.array([json.dumps(question)]), metadata)
    if tick % 3 == 2:
        node.send_output("cancel", pyarrow.array([""]), metadata)


def main() -> None:
    node, tick = Node(), 0
    for event in node:
        if event["type"] == "NODE_RESTARTED":
            print("what was asked is lost", flush=True)
        if event["type"] != "INPUT":
            continue
        if event["id"] == "tick":
            if tick == NUM_TICKS:
                return
            if tick < NUM_GOALS:
                ask(node, tick)
            tick += 1
            continue
        said = json.loads(event["value"][0].as_py())
        if event["id"] == "feedback":
            print("so far:", said["best"], flush=True)
        else:
            print(event["metadata"]["goal_status"], said.get("answer", said), flush=True)


if __name__ == "__main__":
    main()

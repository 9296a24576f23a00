"""A node that asks: sends what a file says, line by line, and writes down what it hears.

    client.py SENT HEARD

A line of SENT: `send` (an output), `text`, `metadata`, `after_s` (a pause before it), and `until`:
how many answers there must have been before the next line is sent.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow
from dora import Node


def heard(event: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in event["metadata"].items() if key != "timestamp"}
    return {"on": event["id"], "text": event["value"].to_pylist()[0], "metadata": metadata}


def main(sent: Path, out: Path) -> None:
    node, ended = Node(), 0
    with out.open("w", encoding="utf-8") as file:
        for line in sent.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            time.sleep(one.get("after_s", 0))
            metadata = one.get("metadata", {})
            node.send_output(one["send"], pyarrow.array([one["text"]]), metadata)
            while ended < one.get("until", 0):
                event = node.next()
                if event is None or event["type"] == "STOP":
                    return
                if event["type"] == "INPUT":
                    ended += "goal_status" in event["metadata"]
                    file.write(json.dumps(heard(event)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

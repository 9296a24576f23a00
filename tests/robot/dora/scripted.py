"""The node over a scripted engine with options of its own: once, if it is opened anew.

scripted.py MODEL OPTIONS       # OPTIONS: a JSON object, such as {"fail_at_step": 10}
"""

from __future__ import annotations

import json
import sys

from dora import Node

from edgereason.robot import Station
from edgereason.robot.dora import Goals
from edgereason.runtime.reasoner import Reasoner

options = json.loads(sys.argv[2])


def open_model() -> Reasoner:
    opened = Reasoner.open(sys.argv[1], **options)
    options.clear()
    return opened


if __name__ == "__main__":
    with Station(open_model) as station:
        Goals(station, Node(), {"way": "think"}).serve()

"""A control loop at 10 Hz that asks for advice and never waits for it.

    python examples/robot_loop.py [MODEL]

The loop looks at the request once a tick. Advice must be there within its deadline; where the world
has changed since the question was asked, the request is cancelled and asked anew.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edgereason import Handle, Reasoner

SCRIPTED = str(Path(__file__).with_name("scripted"))
TICK_S = 0.1
NUM_TICKS = 20
DEADLINE_MS = 800
SCENES = ("A wall is ahead. Which way?", "The door on the right is open. Which way?")


def scene_at(tick: int) -> str:
    """Stands for the robot's sensors: something new every eighth tick."""
    return SCENES[tick // 8 % len(SCENES)]


def main(model: str) -> None:
    with Reasoner.open(model) as reasoner:
        request: Handle | None = None
        asked_about = ""
        start = time.monotonic()
        for tick in range(NUM_TICKS):
            scene = scene_at(tick)
            if request is not None and scene != asked_about:
                request.cancel()  # its slot is free within one step
                request = None
                print(f"{tick:3} stale, cancelled")
            if request is not None and request.future.done():
                answer = request.result()
                used_ms = answer.budget.deadline_ms.used
                print(f"{tick:3} {answer.answer!r} after {used_ms:.0f} ms ({answer.finish.value})")
                request = None
            elif request is None and scene != asked_about:
                asked_about = scene
                request = reasoner.submit(
                    scene,
                    strategy="think",
                    answer_budget=8,
                    deadline_ms=DEADLINE_MS,
                    priority=10,  # before whatever else uses this model
                )
                print(f"{tick:3} asked: {scene}")
            # Here the robot moves: it goes by the last advice until there is a new one.
            time.sleep(max(0.0, start + (tick + 1) * TICK_S - time.monotonic()))
        lag_ms = 1000 * (time.monotonic() - start - NUM_TICKS * TICK_S)
        print(f"{NUM_TICKS} ticks, behind by {lag_ms:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("EDGEREASON_MODEL", SCRIPTED))

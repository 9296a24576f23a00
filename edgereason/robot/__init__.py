"""What robots need beside `Reasoner`: a loop that thinks ahead, a model that stays reachable."""

from __future__ import annotations

from edgereason.robot.agile import Act, Agile, Planner, Thoughts
from edgereason.robot.station import Health, Outcome, Progress, Running, State, Station

__all__ = [
    "Act",
    "Agile",
    "Health",
    "Outcome",
    "Planner",
    "Progress",
    "Running",
    "State",
    "Station",
    "Thoughts",
]

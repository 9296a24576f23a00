"""A planner for goals with the way `agile`: it looks at every state, and goals read its thoughts.

Imports nothing of ROS. The model may be opened anew meanwhile: then a new planner begins.
"""

from __future__ import annotations

from dataclasses import replace

from edgereason import Reasoner
from edgereason.records import Request
from edgereason.robot import Planner, Station


class NodePlanner:
    """Args: think_tokens, of one plan."""

    def __init__(self, station: Station, think_tokens: int) -> None:
        self._station = station
        self._think_tokens = think_tokens
        self._reasoner: Reasoner | None = None
        self._planner: Planner | None = None
        self._num_states = 0

    def look(self, state: str) -> None:
        """A new state. Raises what ended the plan before, where that was an error."""
        self._num_states += 1
        reasoner = self._station.reasoner
        if reasoner is None:
            return
        if reasoner is not self._reasoner or self._planner is None:
            self._reasoner = reasoner
            self._planner = Planner(reasoner, think_tokens=self._think_tokens)
        self._planner.look(state, self._num_states)

    def told(self, request: Request) -> Request:
        """The request with what was thought so far, if it is for `agile` and brings no thoughts."""
        if request.strategy != "agile" or "thoughts" in request.options or self._planner is None:
            return request
        heard = self._planner.heard()
        read = {"thoughts": heard.text, "age": self._num_states - heard.tick}
        return replace(request, options={**request.options, **read})

    def close(self) -> None:
        if self._planner is not None:
            self._planner.close()
        self._planner = None

"""Servers asked for an answer within a deadline, over HTTP: ours with `deadline_ms`, llama.cpp's
with `t_max_predict_ms`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from edgereason.errors import EngineError
from edgereason.prompt.reasoning import Mode

from ..harness.arrivals import Arrival
from .servers import Server

MOST_TOKENS: Final = 512  # of thinking and answer of llama-server


class AskedServer:
    """A server, asked over HTTP, each request on a connection and a thread of its own. `ask` gives
    an answer and its thinking tokens.
    """

    def __init__(self, ask: Callable[[Arrival], tuple[str, int]]) -> None:
        self._ask = ask

    def submit(self, arrival: Arrival, done: Callable[[str | None, int], None]) -> None:
        def work() -> None:
            try:
                told = self._ask(arrival)
            except EngineError as error:
                late = "deadline_unattainable" in str(error)  # it was over once it was read
                done("" if late else None, 0)
            else:
                done(*told)

        threading.Thread(target=work, daemon=True).start()

    def give_up(self) -> None:
        """All are answered, if late."""


def ask_ours(server: Server, arrival: Arrival) -> tuple[str, int]:
    """Thinks as long as there is time; the server keeps the answer's tokens free."""
    done = server.chat(
        [{"role": "user", "content": arrival.question}],
        thinking_token_budget=-1,
        deadline_ms=1000 * arrival.deadline_s,
        priority=arrival.priority,
        temperature=0,
    )
    return done["choices"][0]["message"]["content"], done["edgereason"]["thinking"]["used"]


def ask_llama(
    server: Server, arrival: Arrival, *, mode: Mode, shuts: Sequence[str]
) -> tuple[str, int]:
    """Asked as ours asks the model in this mode. Where it thinks, the answer is what follows the
    cue in `shuts`, if the time is enough for that.
    """
    done = server.chat(
        [{"role": "user", "content": arrival.question + mode.suffix}],
        max_tokens=MOST_TOKENS,
        t_max_predict_ms=round(1000 * arrival.deadline_s),
        temperature=0,
        chat_template_kwargs=dict(mode.variables),
    )
    said, num = done["choices"][0]["message"]["content"], done["usage"]["completion_tokens"]
    if not shuts:
        return said, 0
    cue = next((cue for cue in shuts if cue in said), None)
    return (said.partition(cue)[2] if cue else ""), num

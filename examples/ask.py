"""Ask one question within a budget of tokens and time.

    python examples/ask.py                 # on the scripted engine, without a model
    python examples/ask.py smollm2-135m    # on a real one

Not here: streaming, several requests at once (see the other two).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgereason import Reasoner

SCRIPTED = str(Path(__file__).with_name("scripted"))


def main(model: str) -> None:
    with Reasoner.open(model) as reasoner:
        for think_budget in (4, 128):
            answer = reasoner.ask(
                "What is 17 * 3?",
                strategy="think",
                think_budget=think_budget,  # tokens of thinking at most
                answer_budget=32,
                deadline_ms=5000,  # from now to the end of the answer
            )
            thinking, deadline = answer.budget.think_tokens, answer.budget.deadline_ms
            print(f"budget {think_budget}: {answer.answer}")
            print(f"  thought {thinking.used} tokens, ended by {thinking.ended_by}")
            print(
                f"  {deadline.used:.0f} of {deadline.asked:.0f} ms, late {deadline.late_ms:.0f} ms"
            )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("EDGEREASON_MODEL", SCRIPTED))

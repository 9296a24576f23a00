"""One question a task, answered side by side by each way of reasoning that a model has learned.

    python examples/nano_family.py      # the models are part of the package: nothing is fetched

nano thinks, or does not, or within a budget, and a prefix teaches it an operator it never saw;
nano-infty thinks in rounds, so that its way may be longer than its context; nano-coconut thinks
in six hidden states, which no token can say.
Not here: how often each is right (python -m edgereason.bench suites.variants).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from edgereason import Answer, Reasoner
from edgereason.bench.tasks import reach

SUM = "What is 47+8-23+60-11+94?"
WALK = "x = 17; apply x -> (3x + 4) mod 97, 100 times"
OPERATOR = "What is 47@8?"  # a@b is a+b+a
FACTS = reach.generate(random.Random(2), "test")  # some forty facts, then a question

WAYS: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {
    "nano": [
        (SUM, "175", {"strategy": "no-think"}),
        (SUM, "175", {"strategy": "think"}),
        (SUM, "175", {"strategy": "think", "think_budget": 16}),
        (SUM, "175", {"strategy": "hbpo", "think_budget": 32}),
        (SUM, "175", {"strategy": "auto-think"}),
        (SUM, "175", {"strategy": "vote"}),
        (OPERATOR, "102", {"strategy": "think"}),
        (OPERATOR, "102", {"strategy": "think", "prefix": "operator-32"}),
        (WALK, "82", {"strategy": "think"}),
    ],
    "nano-infty": [(WALK, "82", {"strategy": "infty-think"})],
    "nano-coconut": [
        (FACTS.question, FACTS.answer, {"strategy": name})
        for name in ("no-think", "think", "coconut")
    ],
}


def main() -> None:
    heads = ("question", "way", "answer", "should be", "tokens", "latents", "KV", "ms")
    table = Table(*heads, box=None)
    for model, ways in WAYS.items():
        with Reasoner.open(model) as reasoner:
            for question, right, way in ways:
                answer = reasoner.ask(question, answer_budget=24, **way)
                asked = question.rpartition(". ")[2]
                table.add_row(asked, f"{model}: {named(way)}", *told(answer, right))
    Console(width=140).print(table)


def named(way: Mapping[str, Any]) -> str:
    budget = f" {way['think_budget']}" if "think_budget" in way else ""
    return f"{way['strategy']}{budget}{' + prefix' if 'prefix' in way else ''}"


def told(answer: Answer, right: str) -> tuple[str, ...]:
    usage = answer.usage
    tokens = usage.reasoning_tokens - usage.latent_tokens + usage.answer_tokens
    ms = answer.timings.total_ms
    counts = (tokens, usage.latent_tokens, usage.peak_cells)
    return answer.answer.strip(), right, *map(str, counts), f"{ms:.0f}"


if __name__ == "__main__":
    main()

"""What a step of thinking in blends costs, beside a step of thinking in tokens.

Both think `--tokens` on the same question, in turns, alone and `--batch` at a time. Each turn gives
one ratio; the medians are told.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Final

from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner

_DRAWN: Final = Sampling(temperature=0.6, top_k=30, top_p=0.95, min_p=0.001, seed=1)
_COLUMNS: Final = (
    "side by side",
    "token ms",
    "blend ms",
    "blend to token",
    "least",
    "most",
    "blended",
)


def measure(options: argparse.Namespace, say: Say) -> Findings:
    rows, figures = [], {}
    with open_reasoner(options, threads=options.threads) as reasoner:
        for batch in (1, options.batch):
            pairs = []
            shares = []
            for turn in range(options.turns):
                ways = ("think", "soft") if turn % 2 == 0 else ("soft", "think")
                took = {way: _step(reasoner, way, batch, options.tokens) for way in ways}
                pairs.append((took["think"][0], took["soft"][0]))
                shares.append(took["soft"][1])
                say(f"{batch} side by side, turn {turn + 1} of {options.turns}")
            ratios = [soft / think for think, soft in pairs]
            row = (
                batch,
                median(think for think, _ in pairs),
                median(soft for _, soft in pairs),
                median(ratios),
                min(ratios),
                max(ratios),
                median(shares),
            )
            rows.append(row)
            figures[str(batch)] = dict(zip(_COLUMNS[1:], row[1:], strict=True))
    return Findings(figures, (Table(f"{options.turns} turns each", _COLUMNS, rows),))


def _step(reasoner: Reasoner, way: str, batch: int, tokens: int) -> tuple[float, float]:
    """Milliseconds of a step, and the share of tokens that were fed as blends."""
    handles = [
        reasoner.submit(
            open_questions()[i % len(open_questions())],
            strategy=way,
            think_budget=tokens,
            answer_budget=1,
            sampling=_DRAWN,
            soft=1.0,
        )
        for i in range(batch)
    ]
    for handle in handles:
        handle.result()
    thoughts = [handle.chains[0][0] for handle in handles]
    decode_ms = max(thought.decode_ms for thought in thoughts)
    steps = max(thought.num_tokens for thought in thoughts)
    num = sum(thought.num_tokens for thought in thoughts)
    return decode_ms / max(1, steps), sum(thought.num_latent for thought in thoughts) / max(1, num)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=96, help="of a thought")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8, help="questions side by side, besides one")
    parser.add_argument("--threads", type=int, default=0)


BENCH = Bench("blend", __doc__.splitlines()[0], _add_options, measure)

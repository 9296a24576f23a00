"""What EdgeReasoning published of DeepSeek-R1-Distill on a Jetson AGX Orin (2511.01866).

Output tokens and seconds of a question: means of 3,000 questions of MMLU-Redux, from the authors'
`plotting/plot_accuracy_figs.py` (github.com/edge-inference/edgereasoning, commit e74ca1e); its
seconds are totals divided by 3,000. Its accuracies lie in a sheet that is not in there, but for
those of "no reasoning" (41, 51 and 69 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..harness.report import Table

BASE: Final = "no budget"
NO_REASONING: Final = "no reasoning"
MODELS: Final = ("1.5B", "8B", "14B")


@dataclass(frozen=True, slots=True)
class Mean:
    """Of one question."""

    tokens: float
    seconds: float


def _mean(output_tokens: int, input_s: float, output_s: float) -> Mean:
    return Mean(output_tokens / 3000, (input_s + output_s) / 3000)


BUDGETS: Final[Mapping[str, tuple[Mean, Mean, Mean]]] = {
    BASE: (
        _mean(2220489, 169.90, 56601.83),
        _mean(2433294, 649.00, 260842.88),
        _mean(3953376, 1186.15, 775865.71),
    ),
    NO_REASONING: (
        _mean(704573, 163.82, 16767.36),
        _mean(548820, 593.41, 55388.43),
        _mean(542152, 1091.36, 101512.98),
    ),
    "told 128": (
        _mean(4422049, 169.90, 113833.99),
        _mean(1310938, 649.00, 140168.10),
        _mean(1797130, 1186.15, 353087.90),
    ),
    "hard 128": (
        _mean(274380, 169.90, 6494.05),
        _mean(228891, 649.00, 23013.73),
        _mean(234730, 1186.15, 43852.84),
    ),
    "told 256": (
        _mean(2204252, 169.90, 54354.39),
        _mean(2799047, 649.00, 293074.12),
        _mean(1122540, 1186.15, 211564.51),
    ),
    "hard 256": (
        _mean(432230, 169.90, 10233.06),
        _mean(430856, 649.00, 43334.32),
        _mean(338554, 1186.15, 63268.56),
    ),
}
"""By setting, for each of `MODELS`."""

SAMPLES_S: Final[Mapping[int, tuple[float, float]]] = {1: (3.63, 14.3), 32: (8.69, 32.6)}
"""Seconds of so many samples of 128 tokens side by side, 1.5B and 8B: the paper's text."""

VOTES: Final[Mapping[int, tuple[float, float]]] = {8: (0.390, 0.447), 16: (0.410, 0.456)}
"""Share of right answers of L1-Qwen-1.5B-Exact by votes, budgets of 128 and 256 tokens
(`plotting/plot_L1_PS.py`, same commit); one sample without a budget has 0.43 there."""


def shares(setting: str) -> Sequence[float]:
    """Tokens of a setting as a share of those without a budget, by model; none: not asked."""
    if setting not in BUDGETS:
        return ()
    return [
        own.tokens / whole.tokens
        for own, whole in zip(BUDGETS[setting], BUDGETS[BASE], strict=True)
    ]


def budgets_beside(tokens: Mapping[str, float]) -> Table:
    """`tokens`: ours of a question, by setting."""
    columns = ["", "tokens here", "share"]
    for model in MODELS:
        columns += [f"{model} tokens", "share", f"{model} s"]
    rows = []
    for name, own in tokens.items():
        row: list[object] = [name, own, own / max(1, tokens[BASE])]
        for theirs, share in zip(BUDGETS.get(name, ()), shares(name), strict=True):
            row += [theirs.tokens, share, theirs.seconds]
        rows.append(row + [None] * (len(columns) - len(row)))
    return Table("Tokens written, here and theirs (R1-Distill, AGX Orin)", tuple(columns), rows)


def votes() -> Table:
    rows = [(num, *(100 * share for share in each)) for num, each in VOTES.items()]
    columns = ("samples", "budget 128: % right", "budget 256: % right")
    return Table("Theirs: L1-Qwen-1.5B, MMLU-Redux; one without a budget 43 %", columns, rows)


def samples_beside(seconds: Mapping[int, float], tokens: int) -> Table:
    """`seconds`: ours by number of samples, each of so many tokens."""
    one = seconds[min(seconds)]
    rows = []
    for num in sorted({*seconds, *SAMPLES_S}):
        own = seconds.get(num)
        ratio, rate = (None, None) if own is None else (own / one, num * tokens / own)
        rows.append((num, own, ratio, rate, *SAMPLES_S.get(num, (None, None))))
    columns = ("samples", "seconds", "to one", "tokens/s", "theirs 1.5B, s", "theirs 8B, s")
    return Table(f"Samples of {tokens} tokens side by side (theirs: 128)", columns, rows)

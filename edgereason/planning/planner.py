"""Which model, format, way and budget is best for a device and a limit: all of them, ranked.

    rows = rank(sizes, ways, device, task, limits)
    rows[0].way, rows[0].accuracy, rows[0].reasons

Times are drawn from what is known of lengths and costs; how often a model is right comes from
trials of that model in that way alone, else it is unknown and ranks below. Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost
from edgereason.planning.estimate import Device, Figure, Known, interval
from edgereason.planning.lateness import FEW, Array, Lateness, Length
from edgereason.planning.sizes import Size
from edgereason.planning.trials import Trial, Way

_Z: Final = 1.645  # 90 %
_DRAWS: Final = 4000
_LATE: Final = 0.05  # P(late) above which a plan is no plan
_ENGINE_GIB: Final = 0.15  # of libraries and buffers, about
_UNKNOWN: Final = "not known: no trials"
_SHRINK: Final = 4.0  # trials that what other models and tasks did counts as
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked. `trials` are those of this task, of any model.

    Attributes:
        prompt_tokens: of its questions, as the model sees them; one is enough.
        answer_tokens: assumed where no trial says how long answers are.
    """

    prompt_tokens: Sequence[int]
    trials: Sequence[Trial] = ()
    answer_tokens: int = 32
    name: str = ""

    def __post_init__(self) -> None:
        if not self.prompt_tokens or min(self.prompt_tokens) < 1 or self.answer_tokens < 1:
            raise UsageError("a task needs prompts and answers of 1 token or more")


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit."""

    deadline_ms: float | None = None
    memory_gib: float | None = None
    joules: float | None = None
    watts: float | None = None

    def __post_init__(self) -> None:
        for name in ("deadline_ms", "memory_gib", "joules", "watts"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be above 0, got {value}")


@dataclass(frozen=True, slots=True)
class Row:
    """One choice. A figure that is None is not known.

    Attributes:
        p_late: that thinking in full and the answer would end after the deadline. The runtime cuts
            the thinking then, and answers in time.
        thinking: where lengths of thoughts are from.
        reasons: why it cannot be taken; empty: it can.
        notes: what its figures do not hold.
    """

    model: str
    format: str
    engine: str
    way: str
    p50_ms: Figure | None
    p95_ms: Figure | None
    p_late: Figure | None
    joules: Figure | None
    memory_gib: Figure | None
    accuracy: Figure | None
    thinking: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tied: bool = False  # not told apart from the best by its trials

    @property
    def score(self) -> float:
        """Expected accuracy in time."""
        late = self.p_late.value if self.p_late else 0.0
        return self.accuracy.value * (1 - late) if self.accuracy else -1.0


def rank(
    sizes: Iterable[Size], ways: Sequence[Way], device: Device, task: Task, limits: Limits
) -> list[Row]:
    """All choices: those that can be taken first, the most accurate in time first, unknown accuracy
    below known; among choices that are not told apart the faster one."""
    rows = [_row(size, way, device, task, limits) for size in sizes for way in ways]
    rows.sort(key=_order)
    return list(_with_ties(rows))


def _order(row: Row) -> tuple[Any, ...]:
    p95 = row.p95_ms.value if row.p95_ms else math.inf
    return bool(row.reasons), row.accuracy is None, -row.score, p95


def _with_ties(rows: Sequence[Row]) -> Iterator[Row]:
    """Choices whose intervals hold the best one's accuracy are marked, and go by their time."""
    if not rows or rows[0].reasons or rows[0].accuracy is None:
        yield from rows
        return
    best = rows[0].accuracy
    tied = [
        row
        for row in rows
        if not row.reasons and row.accuracy is not None and row.accuracy.high >= best.value
    ]
    rest = [row for row in rows if row not in tied]
    for row in sorted(tied, key=lambda row: row.p95_ms.value if row.p95_ms else math.inf):
        yield replace(row, tied=len(tied) > 1)
    yield from rest


# --- one choice -----------------------------------------------------------------------------------


def _row(size: Size, way: Way, device: Device, task: Task, limits: Limits) -> Row:
    known = device.cost_of(size)
    lengths, thinking = _lengths(size, way, task)
    answers = _answers(size, way, task)
    times = _times(known, lengths, answers, way, task) if known and lengths else None
    p50, p95 = _quantile(times, known, 0.5), _quantile(times, known, 0.95)
    p_late = _p_late(times, known, limits)
    joules = _joules(known, device, p50)
    memory = _memory(size, way, task, lengths, answers)
    row = Row(
        model=size.model,
        format=size.format,
        engine=size.engine,
        way=str(way),
        p50_ms=p50,
        p95_ms=p95,
        p_late=p_late,
        joules=joules,
        memory_gib=memory,
        accuracy=_accuracy(size, way, task),
        thinking=thinking,
        notes=tuple(_notes(known, device, limits)),
    )
    return replace(row, reasons=tuple(_reasons(row, known, device, limits)))


def _notes(known: Known | None, device: Device, limits: Limits) -> Iterator[str]:
    if known is not None and known.lacks:
        yield known.lacks
    if limits.watts and device.mode is None and not (known and known.cost.power):
        yield f"what power it takes is not known, so {limits.watts:g} W is not checked"


def _reasons(row: Row, known: Known | None, device: Device, limits: Limits) -> Iterator[str]:
    if known is None:
        yield "what its steps cost there is not known"
    elif row.p50_ms is None and row.thinking == _UNKNOWN:
        yield "how long it thinks is not known: give trials, or a budget such as think:128"
    elif row.p50_ms is None:
        yield "most of its thoughts were cut, so how long they are is not known"
    if row.p_late is not None and row.p_late.value > _LATE:
        yield f"{row.p_late.value:.0%} would be late"
    if limits.memory_gib and row.memory_gib and row.memory_gib.high > limits.memory_gib:
        yield f"it takes up to {row.memory_gib.high:.2f} GiB"
    power = known.cost.power if known is not None else None
    if limits.watts and device.mode is None and power is not None and power.watts > limits.watts:
        yield f"it takes {power.watts:.3g} W"
    if limits.joules and row.joules and row.joules.value > limits.joules:
        yield f"it takes {row.joules.value:.3g} J"


def _same(trial: Trial, size: Size) -> bool:
    path = PurePath(size.model)
    names = {size.model, size.name, path.name, path.stem}
    return trial.model in names and (
        not trial.quant or not size.format or trial.quant.upper() == size.format
    )


def _lengths(size: Size, way: Way, task: Task) -> tuple[list[Length], str]:
    """Of thoughts: of this model and way, with any hard budget; where none are known, a hard budget
    in full."""
    if way.budget == 0:
        return [Length(0)], "none"
    own = [
        trial
        for trial in task.trials
        if _same(trial, size) and Way.parse(trial.way).kind == way.kind
    ]
    if own:
        few = f", fewer than {FEW}: wide" if len(own) < FEW else ""
        return [_of_one_line(trial) for trial in own], f"{len(own)} trials{few}"
    if way.budget is not None:
        return [Length(way.budget)], "its budget in full: no trials"
    return [], _UNKNOWN


def _of_one_line(trial: Trial) -> Length:
    """A vote counts the thoughts of all its lines together."""
    length = trial.length
    return replace(length, tokens=length.tokens // Way.parse(trial.way).samples)


def _answers(size: Size, way: Way, task: Task) -> Array:
    found = [
        max(trial.answer_tokens / Way.parse(trial.way).samples, 1)
        for trial in task.trials
        if _same(trial, size) and Way.parse(trial.way).kind == way.kind and trial.answer_tokens
    ]
    return np.array(found or [task.answer_tokens], dtype=float)


def _times(known: Known, lengths: Sequence[Length], answers: Array, way: Way, task: Task) -> Array:
    """[draws] milliseconds at the expected cost, load and all; sorted."""
    rng = np.random.default_rng(0)
    cost = known.cost

    def time_ms(thoughts: Array) -> Array:
        prompts = rng.choice(np.array(task.prompt_tokens, dtype=float), size=thoughts.size)
        answer = rng.choice(answers, size=thoughts.size)
        # The other lines of a vote think as long as other requests do.
        others = rng.choice(thoughts, size=(thoughts.size, way.samples - 1))
        lines = np.column_stack((thoughts, others))
        return request_ms(cost, prompts, lines + answer[:, None])

    limit = math.inf if way.budget is None else way.budget
    lateness = Lateness(time_ms, lengths, limit=limit, spread=cost.spread)
    return lateness.times


def request_ms(cost: Cost, prompts: Array, tokens: Array) -> Array:
    """[num] milliseconds of requests: a prompt, then tokens one after another.

    `tokens` [num], or [num, lines] of lines of thought side by side: a step has a row for each that
    is not over yet. Infinitely many tokens take for ever.
    """
    prompt_of = {
        int(num): cost.prompt_ms(int(num)) if cost.knows_prompts else 0.0
        for num in set(prompts.tolist())
    }
    prompt = np.array([prompt_of[int(num)] for num in prompts])
    longest_first = -np.sort(-tokens.reshape(len(prompts), -1), axis=1)
    finite = np.isfinite(longest_first[:, 0])
    steps = np.maximum(np.where(finite[:, None], longest_first, 0) - 1, 0)
    spent = np.zeros(len(prompts))
    done = np.zeros(len(prompts))
    for rows in range(steps.shape[1], 0, -1):  # until the next of them is over
        until = steps[:, rows - 1]
        context = prompts + (done + until + 1) / 2
        step_ms = cost.rows_ms(rows) + (cost.cell_ms * context + cost.overhead_ms) * rows
        spent += (until - done) * step_ms
        done = until
    return np.where(finite, cost.request_ms + prompt + spent, np.inf)


def _quantile(times: Array | None, known: Known | None, share: float) -> Figure | None:
    if times is None or known is None:
        return None
    value = float(np.quantile(times, share, method="higher"))
    if math.isinf(value):
        return None
    wide = math.exp(_Z * known.cost.spread)
    return interval([value, value / wide, value * wide], known.source)


def _p_late(times: Array | None, known: Known | None, limits: Limits) -> Figure | None:
    if times is None or known is None or limits.deadline_ms is None:
        return None
    wide = math.exp(_Z * known.cost.spread)
    shares = [float((times * times_ > limits.deadline_ms).mean()) for times_ in (1, 1 / wide, wide)]
    return interval(shares, known.source)


def _joules(known: Known | None, device: Device, p50: Figure | None) -> Figure | None:
    """Of the median request, idle power included. Without a meter's figures at most what the power
    mode allows; None where that is not known either."""
    if known is None or p50 is None:
        return None
    power = known.cost.power
    if power is not None:
        return interval([power.joules(ms) for ms in (p50.value, p50.low, p50.high)], known.source)
    watts = device.mode.watts if device.mode else 0.0
    if not watts:
        return None
    return Figure(
        watts * p50.value / 1000, 0.0, watts * p50.high / 1000, f"at most: {watts:g} W allowed"
    )


def _memory(
    size: Size, way: Way, task: Task, lengths: Sequence[Length], answers: Array
) -> Figure | None:
    """Weights, KV of one request, the engine; measured where trials say what a process held."""
    held = [trial.rss_mib for trial in task.trials if _same(trial, size) and trial.rss_mib]
    if held:
        most = max(held) / 1024
        return Figure(most, min(held) / 1024, most, f"{len(held)} trials")
    if not size.weight_bytes or size.kv_bytes is None:
        return None
    thought = max((length.tokens for length in lengths), default=0)
    if way.budget is not None:
        thought = min(thought, way.budget)
    cells = max(task.prompt_tokens) + way.samples * (thought + float(answers.max()))
    fixed, kv = size.weight_bytes / _GIB, cells * size.kv_bytes["f16"] / _GIB
    value = fixed + kv + _ENGINE_GIB
    return Figure(value, fixed + kv, value + _ENGINE_GIB, f"computed from {size.source}")


def _accuracy(size: Size, way: Way, task: Task) -> Figure | None:
    """The posterior of a share: a Beta from trials of this model, format and way, shrunk to what
    the same way did elsewhere. None without such trials."""
    judged = [t for t in task.trials if t.right is not None and Way.parse(t.way) == way]
    own = [t.right for t in judged if _same(t, size)]
    if not own:
        return None
    others = [t.right for t in judged if not _same(t, size)]
    prior, strength = (sum(map(bool, others)) + 1) / (len(others) + 2), _SHRINK if others else 2.0
    right = sum(map(bool, own)) + strength * prior
    wrong = len(own) - sum(map(bool, own)) + strength * (1 - prior)
    draws = np.random.default_rng(0).beta(right, wrong, size=_DRAWS)
    low, high = (float(x) for x in np.quantile(draws, (0.05, 0.95)))
    return Figure(right / (right + wrong), low, high, f"{len(own)} trials")


__all__ = ["Limits", "Row", "Task", "rank", "request_ms"]

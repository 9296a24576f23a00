"""How likely an answer is right when the model says it is so sure, from questions that were asked.

Below 100 labels a logistic curve with a prior (Platt), from there on Venn-Abers, which assumes only
that a surer answer is no less often right. A `Calibration` lies in the cache beside other
measurements, never in a bundle, whose files are hashed. Knows no strategy: ways are names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.config import build, cache_dir
from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import Bundle

FORMAT: Final = 1
FEW: Final = 100  # labels, below which a curve with a prior is nearer to the truth

_PRIOR_SLOPE: Final = 1.0  # the score is right as it is
_PRIOR_SPREAD: Final = 1.0  # standard deviation of slope and offset
_CLIP: Final = 1e-3  # of scores, before the logarithm
_Z: Final = 1.645  # 90 % interval


@dataclass(frozen=True, slots=True)
class Chance:
    """The chance that an answer is right, and what it may be at least and at most."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured of one way: how sure an answer was, in [0, 1], and whether it was right."""

    points: tuple[tuple[float, bool], ...]
    mean_tokens: float = 0.0  # an answer

    def __post_init__(self) -> None:
        for score, _ in self.points:
            if not 0 <= score <= 1:
                raise UsageError(f"a score must be in [0, 1], got {score}")

    def chance(self, score: float) -> Chance:
        """Of an answer with this score. Without labels: the score itself, and anything may be."""
        if not self.points:
            return Chance(score, 0.0, 1.0)
        return (_platt if len(self.points) < FEW else _venn_abers)(self.points, score)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `auto` goes by with one model.

    Attributes:
        steps: (way, score from which its answer is kept), tried in this order before thinking.
            Empty: no way can tell when it is right, so `auto` thinks.
        ways: what was measured of each way, thinking included.
        labels: "answers" where right ones were known, "majority" where it was the model's own.
        about: one line for people: what `steps` are expected to bring.
        exits: share of its thinking tokens that a perfect exit needs; None where it is not known.
    """

    model: str
    questions: str
    num: int
    labels: str
    steps: tuple[tuple[str, float], ...] = ()
    ways: Mapping[str, Scores] = field(default_factory=dict)
    about: str = ""
    exits: float | None = None
    format: int = FORMAT


# --- maps -----------------------------------------------------------------------------------------


def _logit(score: float) -> float:
    clipped = min(max(score, _CLIP), 1 - _CLIP)
    return math.log(clipped / (1 - clipped))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))


def _platt(points: Sequence[tuple[float, bool]], score: float) -> Chance:
    """Logistic in the logit of the score, with a slope of at least 0: the map is monotone."""
    slope, offset, cov = fit_logistic([(_logit(x), is_right) for x, is_right in points])
    x = _logit(score)
    middle = slope * x + offset
    spread = math.sqrt(max(0.0, x * x * cov[0] + 2 * x * cov[1] + cov[2]))
    return Chance(_sigmoid(middle), _sigmoid(middle - _Z * spread), _sigmoid(middle + _Z * spread))


def fit_logistic(
    points: Sequence[tuple[float, bool]],
) -> tuple[float, float, tuple[float, float, float]]:
    """Slope, offset and their covariance (ss, so, oo), with a normal prior on both (Newton)."""
    slope, offset, precision = _PRIOR_SLOPE, 0.0, 1 / _PRIOR_SPREAD**2
    cov = (1.0, 0.0, 1.0)
    for _ in range(50):
        gs, go = precision * (_PRIOR_SLOPE - slope), -precision * offset
        ss, so, oo = precision, 0.0, precision
        for x, is_right in points:
            p = _sigmoid(slope * x + offset)
            gs, go = gs + (is_right - p) * x, go + (is_right - p)
            weight = p * (1 - p)
            ss, so, oo = ss + weight * x * x, so + weight * x, oo + weight
        det = ss * oo - so * so
        cov = (oo / det, -so / det, ss / det)
        ds, do = cov[0] * gs + cov[1] * go, cov[1] * gs + cov[2] * go
        size = max(1.0, abs(ds), abs(do))  # a step of at most 1: Newton alone may overshoot
        slope, offset = slope + ds / size, offset + do / size
        if abs(ds) + abs(do) < 1e-9:
            break
    return max(slope, 0.0), offset, cov


def _venn_abers(points: Sequence[tuple[float, bool]], score: float) -> Chance:
    """Isotonic regression twice, with the answer taken for wrong and for right (Vovk 2015)."""
    low = _isotonic_at([*points, (score, False)], score)
    high = _isotonic_at([*points, (score, True)], score)
    return Chance(high / (1 - low + high), low, high)


def _isotonic_at(points: Sequence[tuple[float, bool]], score: float) -> float:
    """The non-decreasing fit of the labels, at a score that is among the points (PAV)."""
    totals: dict[float, tuple[int, int]] = {}  # of one score: right, number
    for x, is_right in sorted(points):
        right, num = totals.get(x, (0, 0))
        totals[x] = (right + is_right, num + 1)
    blocks: list[tuple[int, int, float]] = []  # right, number, highest score
    for x, total in totals.items():
        block = (*total, x)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], x)
        blocks.append(block)
    return next(right / num for right, num, last in blocks if score <= last)


# --- where it is kept -----------------------------------------------------------------------------


def path_of(bundle: Bundle) -> Path:
    """Named after all that a confidence depends on: weights, quantization, prompt, engine."""
    weights = [[file.path, file.size_bytes, file.sha256] for file in bundle.files[:1]]
    prompt = [bundle.chat_template, repr(replace(bundle.reasoning, found=""))]
    key = sha256(json.dumps([bundle.engine, bundle.quantization, weights, prompt]).encode())
    return cache_dir() / "measurements" / f"{bundle.name}-{key.hexdigest()[:16]}" / "ways.json"


def save(bundle: Bundle, calibration: Calibration) -> Path:
    path = path_of(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
        file.write((json.dumps(asdict(calibration), indent=1) + "\n").encode())
    return path


def load(bundle: Bundle) -> Calibration | None:
    """None: this model was never calibrated. A file that cannot be read is an error, not a None."""
    path = path_of(bundle)
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _spoiled(path, str(error)) from None
    try:
        calibration = build(Calibration, data, what="key")
    except UsageError as error:
        raise _spoiled(path, error.message) from None
    if calibration.format != FORMAT:
        raise _spoiled(path, f"its format is {calibration.format}, this version reads {FORMAT}")
    return calibration


def _spoiled(path: Path, why: str) -> BundleError:
    return BundleError(
        f"the calibration {path} cannot be read: {why}",
        "delete it, or make it anew with: edgereason calibrate MODEL --questions FILE",
    )


__all__ = ["Calibration", "Chance", "Scores", "load", "path_of", "save"]

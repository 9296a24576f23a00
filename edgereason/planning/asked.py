"""How a model marks its thoughts, learned from its own answers where its template does not tell.

Kept with what else was measured of the model, for one chat template. Used wherever a model is
opened or shown; a template that tells is believed. Knows no engine: see `runtime/asking.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any, Final

from edgereason.config import build
from edgereason.errors import UsageError
from edgereason.models.bundle import THINKERS, Bundle
from edgereason.planning import measured
from edgereason.prompt.detection import marked_by
from edgereason.prompt.marks import Marks, common_marks
from edgereason.prompt.reasoning import PLAIN, UNCLEAR, Kind, Reasoning
from edgereason.records import Sampling

ASKED: Final = "asked the model"
_WHAT: Final = "marks"  # among the measurements of a model


def in_doubt(reasoning: Reasoning) -> bool:
    """The template leaves open how the model thinks, or once did."""
    return reasoning.kind is Kind.CUE or reasoning.found.startswith((UNCLEAR, ASKED))


def learn(bundle: Bundle, texts: Sequence[str]) -> dict[str, Any]:
    """What to keep of a model's answers, each from its first token on."""
    marks, num = common_marks(texts)
    return {
        **asdict(marks),
        "answers": len(texts),
        "marked": num,
        "template": _template(bundle),
    }


def keep(bundle: Bundle, learned: Mapping[str, Any]) -> None:
    """Raises `OSError`."""
    measured.write(bundle, _WHAT, learned)


def known(bundle: Bundle) -> Bundle:
    """With what was learned of the model, if anything was and its template does not tell."""
    if not in_doubt(bundle.reasoning):
        return bundle
    learned = measured.read(bundle, _WHAT)
    return with_learned(bundle, learned) if learned else bundle


def with_learned(bundle: Bundle, learned: Mapping[str, Any]) -> Bundle:
    """With what `learn` gave; unchanged where that cannot be read, or is of another template."""
    values = dict(learned)
    answers, num = values.pop("answers", None), values.pop("marked", None)
    template = values.pop("template", None)
    try:
        marks = build(Marks, values, what="key")
    except UsageError:
        return bundle
    counts = isinstance(answers, int) and isinstance(num, int) and 0 <= num <= answers
    if not counts or not answers or template != _template(bundle):
        return bundle
    return _with(bundle, marks, num, answers)


def _with(bundle: Bundle, marks: Marks, num: int, answers: int) -> Bundle:
    if num == 0:
        plain = bundle.reasoning if bundle.reasoning.kind is Kind.CUE else PLAIN
        told = f"{ASKED}: none of {answers} answers had marks"
        sampling = Sampling() if bundle.sampling == THINKERS else bundle.sampling
        return replace(bundle, reasoning=replace(plain, found=told), sampling=sampling)
    told = f"{ASKED}: {num} of {answers} answers began with {marks.open}"
    if 2 * num < answers or not marks.shut:
        unclear = f"{UNCLEAR}{told}"
        return replace(bundle, reasoning=replace(bundle.reasoning, found=unclear))
    reasoning = marked_by(
        bundle.chat_template, marks, bos_token=bundle.bos_token, eos_token=bundle.eos_token
    )
    sampling = THINKERS if bundle.sampling == Sampling() else bundle.sampling
    return replace(bundle, reasoning=replace(reasoning, found=told), sampling=sampling)


def _template(bundle: Bundle) -> str:
    return sha256(bundle.chat_template.encode()).hexdigest()[:16]


__all__ = ["ASKED", "in_doubt", "keep", "known", "learn", "with_learned"]

"""`edgereason calibrate`: how a model marks its thoughts, and when it knows that it is right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from edgereason.cli._opening import open_reasoner
from edgereason.cli._options import Debug, Json, Opening, flag, with_options
from edgereason.cli._screen import json_object, say
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.planning.calibration import Calibration


@with_options
def command(
    *,
    opening: Opening,
    questions: Annotated[
        Path | None,
        flag(
            "--questions",
            'File with one {"question": ..., "answer": ...} a line; without it the model is asked '
            "only how it marks its thoughts.",
        ),
    ] = None,
    answers: Annotated[
        bool,
        flag("--answers", "Go by the answers in the file, not by the model's majority."),
    ] = False,
    num: Annotated[int, flag("--num", "Only so many questions; 0 is all.")] = 0,
    ways: Annotated[
        str, flag("--ways", "Drafts to try, with commas [all ways that may be drafts].")
    ] = "",
    think_tokens: Annotated[int, flag("--think-tokens", "Thinking tokens of a question.")] = 400,
    parallel: Annotated[int, flag("--parallel", "Questions asked side by side.")] = 4,
    dry_run: Annotated[bool, flag("--dry-run", "Measure and print, write nothing.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure when a model knows that it is right, and let `auto` go by it.

    First the model is asked how it marks its thoughts, where its chat template does not tell: four
    easy questions. Then every question of the file is asked each way, so it takes a while: a
    hundred questions with a model of 0.5B some half an hour on two cores. What comes out is kept in
    the cache beside the models.
    """
    from edgereason.planning.calibration import save
    from edgereason.runtime import calibrate

    for name, value in (("--num", num), ("--parallel", parallel - 1)):
        if value < 0:
            least = 0 if name == "--num" else 1
            raise UsageError(f"{name} must be {least} or more, got {value + least}")
    listed = calibrate.read(questions, num, answers=answers) if questions else ()

    def tell(text: str) -> None:
        if not as_json:
            say(text, error=True)

    thoughts = _thoughts(opening, dry_run=dry_run)
    tell(f"thoughts: {thoughts}")
    if questions is None:
        if as_json:
            json_object.say({"thoughts": thoughts})
        return
    with open_reasoner(opening) as reasoner:
        found = calibrate.calibrate(
            reasoner,
            listed,
            questions.name,
            ways=tuple(filter(None, (way.strip() for way in ways.split(",")))),
            think_budget=think_tokens,
            parallel=parallel,
            say=tell,
        )
        path = "" if dry_run else str(save(reasoner.bundle, found))
    if as_json:
        json_object.say(asdict(found) | {"path": path, "thoughts": thoughts})
        return
    _show(found)
    say(f"kept in {path}" if path else "not kept (--dry-run)")


def _thoughts(opening: Opening, *, dry_run: bool) -> str:
    """How the model thinks is known by, once it was asked where that was in doubt."""
    from edgereason.planning import asked
    from edgereason.runtime.asking import ask

    with open_reasoner(opening) as reasoner:
        bundle = reasoner.bundle
        if not asked.in_doubt(bundle.reasoning):
            return bundle.reasoning.found or "told by the model's files"
        learned = ask(reasoner)
    if not dry_run:
        try:
            asked.keep(bundle, learned)
        except OSError as error:
            raise UsageError(f"cannot keep what was learned: {error.strerror}") from None
    return asked.with_learned(bundle, learned).reasoning.found


def _show(found: Calibration) -> None:
    from edgereason.planning.cascade import auc

    say(f"{'way':<10} {'right':>5} {'tokens':>6}  {'tells right from wrong (0.5: not at all)'}")
    for way, scores in found.ways.items():
        right = sum(is_right for _, is_right in scores.points)
        say(f"{way:<10} {right:>5} {scores.mean_tokens:>6.0f}  {auc(scores.points):.2f}")
    steps = ", ".join(f"{way} from {threshold:.3g}" for way, threshold in found.steps)
    say(f"auto: {steps or 'no draft pays here, it thinks'}")
    say(found.about)
    if found.exits is not None:
        say(f"exits: a perfect one would still think {found.exits:.0%} of the tokens")

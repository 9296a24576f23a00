"""A smaller model that guesses what another says next: no token changes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgereason import _core, engines
from edgereason.errors import BundleError, ModelNotFoundError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.planning.cost import KNOTS
from edgereason.prompt.lowering import lower
from edgereason.records import Phase, Sampling, Segment
from edgereason.registry import load
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

PROMPT = "<|im_start|>user\nWhat is 47+8-23*2+9-4?<|im_end|>\n<|im_start|>assistant\n"
BUDGET = 40


def opened(name: str) -> Any:
    bundle = open_bundle(resolve(name))
    module = load(engines, bundle.engine)
    return module.open(bundle, module.Config(context=512))


def written(draft: str = "", **sampling: Any) -> Any:
    """What nano goes on with, where a draft costs nothing and so guesses from the start."""
    engine = opened("nano")
    beside = {"lookahead": 6, "draft": opened(draft)} if draft else {}
    core = _core.Scheduler(engine, **beside)
    core.restore_cost([50.0] * len(KNOTS), 1e-6)
    ends = {token: -1e9 for token in range(engine.info["num_vocab"]) if engine.ends(token)}
    asked = Sampling(logit_bias=ends, **sampling)
    phase = Phase("answer", fresh=(Segment(PROMPT),), budget=BUDGET, sampling=asked)
    sequence = core.open()
    core.run(sequence, lower(phase, engine))
    while True:
        core.step()
        for _, kind, _, value in core.take(0):
            assert kind == "phase", value
            return value


@pytest.mark.parametrize("draft", ["nano", "nano-infty"])
@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.5, "seed": 7}])
def test_no_token_changes(draft: str, sampling: dict[str, Any]) -> None:
    alone, drafted = written(**sampling), written(draft, **sampling)
    assert drafted["tokens"] == alone["tokens"]
    assert len(drafted["tokens"]) == BUDGET
    assert drafted["num_steps"] + drafted["num_accepted"] == alone["num_steps"] == BUDGET
    assert 0 < drafted["num_accepted"] <= drafted["num_drafted"]


def test_it_is_there_by_name_and_rests_where_it_does_not_pay() -> None:
    def told(**more: Any) -> Any:
        with Reasoner.open("nano", threads=1, context=512, **more) as reasoner:
            answers = [reasoner.ask("What is 47+8-23?", strategy="think") for _ in range(2)]
        return [(answer.answer, answer.reasoning) for answer in answers]

    # As large as the model itself: never cheaper than the tokens that it guesses.
    assert told(draft="nano") == told()


@pytest.mark.parametrize(
    ("draft", "error", "message"),
    [
        (SCRIPTED, BundleError, "token 0 is '<|endoftext|>' in the model and '\\x00' in the draft"),
        ("no-such-draft", ModelNotFoundError, "no-such-draft"),
    ],
)
def test_what_cannot_guess_is_refused(draft: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Reasoner.open("nano", draft=draft)


def test_no_guesses_are_wanted_of_it() -> None:
    with pytest.raises(UsageError, match="guesses nothing with lookahead 0"):
        _core.Scheduler(opened("nano"), draft=opened("nano"))

"""Ways that let several thoughts vote: explore, verify, debate, self-evolve, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.records import Sampling
from support.scripted_models import DIRECT, model

ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
COLD = {"temperature": 1e-6}


def test_explore_follows_its_plan() -> None:
    rules = (
        ("find the answer." + ASSISTANT + DIRECT, "Count it."),
        ("Follow this plan: Count it." + ASSISTANT + "<think>\n", "One, two.\n</think>"),
        ("One, two.\n</think>", "\n\n2"),
    )
    with model(*rules) as reasoner:
        handle = reasoner.submit("How many?", strategy="explore", options={"samples": 2, **COLD})
        answer = handle.result()
        assert answer.answer == "2"
        assert answer.candidates[0].votes == 2
        plan = handle.chains[1][0]
        assert (plan.text, plan.role.value) == ("Count it.", "carry")


def test_plans_spend_the_thinking_budget_of_their_line() -> None:
    with model() as reasoner:
        answer = reasoner.ask("How many?", strategy="explore", think_budget=20)
        assert answer.budget.think_tokens.used <= 20


def test_verify_weighs_votes_by_the_check() -> None:
    checked = f"Answer Yes or No and nothing else.{ASSISTANT}{DIRECT}"
    with model((checked, "Yes")) as reasoner:
        handle = reasoner.submit("Why?", strategy="verify", options={"samples": 2})
        answer = handle.result()
        assert answer.answer == "7"
        assert answer.candidates[0].votes == 2
        check = next(line[-1] for line in handle.chains if line and line[-1].name == "check")
        assert check.num_tokens == 0
        assert len(check.scores) == 2


@pytest.mark.parametrize("late", ["n", "~"])
def test_a_program_may_weigh_the_answers(tmp_path: Path, late: str) -> None:
    """By the share of their letters that come late: of eight answers that differ it decides."""
    path = tmp_path / "check.py"
    path.write_text(
        "def check(question, text):\n"
        f"    return sum(each >= {late!r} for each in text) / len(text)\n",
        encoding="utf-8",
    )
    letters = {token: 100.0 for token in range(ord("a"), ord("z") + 1)}
    with model(noise=True) as reasoner:
        handle = reasoner.submit(
            "Why?",
            strategy="verify",
            options={"samples": 8, "check": path},
            think_budget=2,
            answer_budget=6,
            sampling=Sampling(temperature=1.0, seed=1, logit_bias=letters),
        )
        answer = handle.result()
    said = [phase.text for line in handle.chains for phase in line if phase.name == "answer"]
    assert len(set(said)) == 8
    best = max(said, key=lambda text: sum(each >= late for each in text))
    assert answer.answer == best
    assert (best == said[0]) is (late == "~")  # nothing speaks for any: the first


def test_a_program_that_fails_weighs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "check.py"
    path.write_text("def check(question, text):\n    return 1 / 0\n", encoding="utf-8")
    with model() as reasoner:
        options = {"samples": 3, "check": path}
        answer = reasoner.ask("Why?", strategy="verify", options=options)
    assert answer.answer == "7"
    assert answer.note.startswith("the check failed: ZeroDivisionError")


def test_debaters_who_agree_do_not_go_on() -> None:
    with model() as reasoner:
        answer = reasoner.ask("Why?", strategy="debate", explain=True, options=COLD)
    assert answer.answer == "7"
    assert len(answer.chains) == 4  # the request's own line, and three


def test_debaters_see_what_others_said() -> None:
    told = 'You answered "7" before. Others answered'
    with model((told, "")) as reasoner:
        handle = reasoner.submit(
            "Why?", strategy="debate", options={"samples": 2, "temperature": 30.0}
        )
        answer = handle.result()
        assert len(handle.chains) in (3, 5)
        assert answer.answer


def test_self_evolve_shows_the_solution_and_votes_over_all() -> None:
    again = "correct it and all that follows." + ASSISTANT + "<think>\n"
    rules = ((again, "Eight.\n</think>"), ("Eight.\n</think>", "\n\n8"))
    with model(*rules) as reasoner:
        answer = reasoner.ask("Why?", strategy="self-evolve", options={"rounds": 2}, explain=True)
    assert answer.answer == "8"
    assert [(each.answer, each.votes) for each in answer.candidates] == [("8", 2), ("7", 1)]
    assert len(answer.chains) == 4


def test_gate_takes_another_token_where_it_was_unsure() -> None:
    with model() as reasoner:
        options = {"forks": 2, "entropy": 0}  # every token counts as unsure
        handle = reasoner.submit("Why?", strategy="gate", options=options, answer_budget=8)
        answer = handle.result()
        thought, *_ = handle.chains[0]
        assert len(thought.entropies) == thought.num_tokens
        least_sure = sorted(range(thought.num_tokens), key=lambda i: -thought.entropies[i])[:2]
        assert len(handle.chains) == 3
        forks = [line[0] for line in handle.chains[1:]]
        for fork, place in zip(forks, sorted(least_sure), strict=True):
            assert (fork.name, fork.num_tokens) == ("fork", 1)
            assert fork.tokens[0] != thought.tokens[place]
        assert answer.usage.reasoning_tokens > thought.num_tokens
        assert (
            answer.note
            == f"{thought.num_tokens} of {thought.num_tokens} tokens unsure, 2 taken otherwise"
        )


def test_gate_without_an_unsure_token_only_thinks() -> None:
    with model() as reasoner:
        handle = reasoner.submit("Why?", strategy="gate")
        assert handle.result().answer == "7"
        assert len(handle.chains) == 1


@pytest.mark.parametrize(
    ("strategy", "options", "error"),
    [
        ("explore", {"samples": -1}, "samples must be in"),
        ("explore", {"tokens": 0}, "tokens must be 1 or more, got 0"),
        ("verify", {"of": "verify"}, "verify cannot be its own sample"),
        ("debate", {"rounds": -1}, "rounds must be 0 or more, got -1"),
        ("self-evolve", {"rounds": 101}, "rounds must be in"),
        ("gate", {"forks": 17}, "forks must be in"),
        ("gate", {"entropy": -1}, "entropy must be 0 or more, got -1"),
    ],
)
def test_wrong_options(strategy: str, options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy=strategy, options=options)

"""Search among thoughts, on noise: which are drawn, which are gone on from, what is left of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.records import PhaseResult, Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies import tree
from edgereason.strategies.tree import Node
from support.places import SCRIPTED
from support.scripted_models import model

THOUGHT = ("<think>\n", "One.\nTwo.\n\nThree.\n</think>")
ANSWER = ("Three.\n</think>", "\n\n3")
COLD = {"temperature": 1e-6}
LETTERS = {token: 100.0 for token in range(ord("a"), ord("z") + 1)}


@pytest.fixture
def check(tmp_path: Path) -> Path:
    """The share of letters that come late in the alphabet."""
    path = tmp_path / "check.py"
    path.write_text(
        "def check(question, text):\n"
        "    return sum(each >= 'n' for each in text) / max(1, len(text))\n",
        encoding="utf-8",
    )
    return path


def share(text: str) -> float:
    return sum(each >= "n" for each in text) / max(1, len(text))


def steps_of(handle: Any) -> list[PhaseResult]:
    """In the order in which they were drawn."""
    return [phase for line in handle.chains for phase in line if phase.name == "step"]


@pytest.mark.parametrize("search", ["beam", "mcts"])
@pytest.mark.parametrize("depth", [1, 2, 9])
def test_a_cold_tree_thinks_what_plain_thinking_does(search: str, depth: int) -> None:
    with model(THOUGHT, ANSWER) as reasoner:
        plain = reasoner.ask("Why?", strategy="think")
        options = {"search": search, "depth": depth, **COLD}
        answer = reasoner.ask("Why?", strategy="tree", options=options)
    assert (answer.answer, answer.reasoning) == (plain.answer, plain.reasoning)
    assert answer.usage.reasoning_tokens > plain.usage.reasoning_tokens


def test_steps_share_the_budget_of_their_path() -> None:
    with model(noise=True) as reasoner:
        options = {"tokens": 5, "depth": 4}
        handle = reasoner.submit("Why?", strategy="tree", options=options, think_budget=12)
        answer = handle.result()
        steps = steps_of(handle)
        assert max(step.budget for step in steps) == 5
        assert min(step.budget for step in steps) == 2  # 12 less two steps of five
        assert answer.usage.reasoning_tokens == sum(step.num_reasoning for step in steps)
        assert answer.note == f"{len(steps)} steps were judged"
        assert answer.budget.think_tokens.effective <= 12


def hot(reasoner: Reasoner, **options: Any) -> Any:
    handle = reasoner.submit(
        "Why?",
        strategy="tree",
        options={"tokens": 6, "temperature": 1.5, **options},
        think_budget=24,
        answer_budget=4,
        sampling=Sampling(seed=3, logit_bias=LETTERS),
    )
    handle.result()
    return handle


def test_an_oracle_chooses_the_step(check: Path) -> None:
    with model(noise=True) as reasoner:
        handle = hot(reasoner, branches=5, depth=1, check=check)
        drawn = [step.text for step in steps_of(handle)]
        assert len({share(text) for text in drawn}) > 1
        best = max(drawn, key=share)
        assert best != drawn[0]
        assert handle.result().reasoning.startswith(best.strip())


def test_a_beam_goes_on_from_the_best(check: Path) -> None:
    with model(noise=True) as reasoner:
        handle = hot(reasoner, branches=4, depth=2, width=2, check=check)
        drawn = [step.text for step in steps_of(handle)]
        assert len(drawn) == 4 + 8
        first = drawn[:4]
        kept = sorted(first, key=share, reverse=True)[:2]
        second = [before + text for before, text in _pairs(kept, drawn[4:], 4)]
        best = max(second, key=share)
        assert handle.result().reasoning.startswith(best.strip())


def _pairs(kept: list[str], drawn: list[str], num: int) -> Any:
    return zip([text for text in kept for _ in range(num)], drawn, strict=True)


def test_the_first_step_is_that_of_plain_thinking() -> None:
    with model(noise=True) as reasoner:
        options = {"tokens": 6, "temperature": 3.0, "depth": 1}
        handle = reasoner.submit("Why?", strategy="tree", options=options, answer_budget=4)
        handle.result()
        plain = reasoner.submit("Why?", strategy="think", think_budget=6, answer_budget=4)
        plain.result()
        first, *others = (step.tokens for step in steps_of(handle))
        assert first == plain.chains[0][0].tokens
        assert first not in others


def test_what_it_believes_comes_from_the_model() -> None:
    with model(noise=True) as reasoner:
        handle = hot(reasoner, branches=2, depth=1)
        judged = [p for line in handle.chains for p in line if p.name == "check"]
        assert len(judged) == 2
        assert all((each.num_tokens, len(each.scores)) == (0, 2) for each in judged)


def test_equal_steps_are_judged_once() -> None:
    with model(THOUGHT, ANSWER) as reasoner:
        options = {"branches": 4, "depth": 1, **COLD}
        handle = reasoner.submit("Why?", strategy="tree", options=options)
        assert handle.result().note == "1 steps were judged"
        names = [phase.name for line in handle.chains for phase in line]
        assert (names.count("step"), names.count("check")) == (4, 1)


def test_a_blank_line_is_no_step() -> None:
    with model(("<think>\n", "\n\nOne.\n\nTwo.\n</think>"), ("Two.\n</think>", "2")) as reasoner:
        plain = reasoner.ask("Why?", strategy="think")
        handle = reasoner.submit("Why?", strategy="tree", options={"branches": 2, **COLD})
        answer = handle.result()
        assert (answer.answer, answer.reasoning) == (plain.answer, plain.reasoning)
        assert answer.note == "3 steps were judged"  # both lines, and the end


@pytest.mark.parametrize("search", ["beam", "mcts"])
def test_every_cell_comes_back(search: str, check: Path) -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        reasoner.ask("Why?", strategy="tree", options={"search": search, "check": check})
        assert reasoner.wait_idle()
        until = time.monotonic() + 5  # the last line is closed a moment after it is idle
        while reasoner.stats()["num_free_cells"] < reasoner.engine.info["num_cells"]:
            assert time.monotonic() < until
            time.sleep(0.001)


def test_mcts_walks_the_best_path_and_looks_elsewhere(check: Path) -> None:
    with model(noise=True) as reasoner:
        options = {"search": "mcts", "branches": 3, "depth": 2, "check": check}
        once = hot(reasoner, iterations=1, **options)
        assert len(steps_of(once)) == 3 + 3
        more = hot(reasoner, iterations=4, **options)
        assert len(steps_of(more)) > 6
        both = [[step.tokens for step in steps_of(each)[:6]] for each in (once, more)]
        assert both[0] == both[1]


def test_uct_on_a_known_tree() -> None:
    """Values by hand: Q + sqrt(ln 10 / n), and ln 10 = 2.303."""
    tried = Node(num_visits=8, best=0.9)  # 0.9 + 0.54
    seldom = Node(num_visits=2, best=0.3)  # 0.3 + 1.07
    new = Node(score=0.2)  # 0.2 + 1.52
    parent = Node(num_visits=10, children=[tried, seldom, new])
    assert tree._chosen(parent) is new
    new.num_visits, new.best = 3, 0.2  # 0.2 + 0.88
    assert tree._chosen(parent) is tried
    tried.num_visits = 30  # 0.9 + 0.28
    assert tree._chosen(parent) is seldom


def test_a_step_that_ends_within_a_character_leaves_it_out() -> None:
    with model(("<think>\n", "\u00e4\u00f6\n</think>")) as reasoner:
        options = {"tokens": 3, "depth": 1, **COLD}
        handle = reasoner.submit("Why?", strategy="tree", options=options)
        answer = handle.result()
        assert len(steps_of(handle)[0].tokens) == 3
        assert answer.reasoning.startswith("\u00e4")
        assert "\ufffd" not in answer.reasoning


def test_a_check_that_fails_ends_the_search(tmp_path: Path) -> None:
    path = tmp_path / "check.py"
    path.write_text("def check(question, text):\n    return 1 / 0\n", encoding="utf-8")
    with model(THOUGHT, ANSWER) as reasoner:
        answer = reasoner.ask("Why?", strategy="tree", options={"check": path, **COLD})
    assert answer.answer == "3"
    assert (
        answer.note == "1 steps were judged; the check failed: ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize("search", ["beam", "mcts"])
def test_a_check_without_end_leaves_time_to_answer(search: str, tmp_path: Path) -> None:
    path = tmp_path / "check.py"
    path.write_text("def check(question, text):\n    while True:\n        pass\n", encoding="utf-8")
    with model(THOUGHT, ANSWER) as reasoner:
        options = {"check": path, "search": search, **COLD}
        answer = reasoner.ask("Why?", strategy="tree", options=options, deadline_ms=1000)
    assert answer.answer == "3"
    assert answer.budget.deadline_ms.used < 1000
    assert answer.note == "1 steps were judged; the check failed: the program took too long"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"branches": 0}, r"branches must be in \[1, 16\], got 0"),
        ({"width": 17}, r"width must be in \[1, 16\], got 17"),
        ({"depth": 0}, r"depth must be in \[1, 64\], got 0"),
        ({"iterations": 65}, r"iterations must be in \[1, 64\], got 65"),
        ({"tokens": 0}, "tokens must be 1 or more, got 0"),
        ({"temperature": 0}, "temperature must be more than 0, got 0"),
        ({"check": "nowhere.py"}, "there is no program nowhere.py"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="tree", options=options)

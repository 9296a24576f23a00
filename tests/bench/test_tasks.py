"""Tasks: what they deal out is right, checkable, split for good, and like the data it imitates."""

from __future__ import annotations

import json
import random
import re
import statistics
from collections.abc import Sequence
from types import ModuleType

import pytest

from edgereason.bench.tasks import chain, iterate, operator, reach
from edgereason.bench.tasks.base import Problem, split_of
from support.places import SHARED

TASKS = (chain, iterate, operator, reach)
PROSQA = SHARED / "data" / "prosqa" / "valid.json"

tasks = pytest.mark.parametrize("task", TASKS, ids=lambda t: t.__name__.rpartition(".")[2])


def dealt(task: ModuleType, num: int, seed: int = 0) -> list[Problem]:
    rng = random.Random(seed)
    return [task.generate(rng) for _ in range(num)]


@tasks
def test_a_task_knows_its_answer_and_refuses_others(task: ModuleType) -> None:
    for problem in dealt(task, 50):
        assert task.check(problem, problem.answer)
        assert task.check(problem, f"So the answer is {problem.answer}")
        assert not task.check(problem, "")
        assert not task.check(problem, "What is 12345 of a grumpus?")
        assert problem.answer.rstrip(".").endswith(problem.notes[-1])


@tasks
def test_the_same_seed_deals_the_same(task: ModuleType) -> None:
    assert dealt(task, 20) == dealt(task, 20)
    assert dealt(task, 20) != dealt(task, 20, seed=1)


@tasks
def test_no_seed_carries_a_test_question_into_training(task: ModuleType) -> None:
    rng = random.Random(7)
    assert {split_of(task.generate(rng, "train").question) for _ in range(50)} == {"train"}
    assert {split_of(task.generate(rng, "test").question) for _ in range(50)} == {"test"}


def test_one_question_in_sixteen_is_for_testing() -> None:
    shares = [split_of(f"question {i}") for i in range(8000)]
    assert shares.count("test") / len(shares) == pytest.approx(1 / 16, abs=0.01)


def test_a_problem_has_a_note_for_each_step() -> None:
    with pytest.raises(ValueError, match="2 steps but 1 notes"):
        Problem("?", ("a", "b"), ("a",), "a")


def test_chain_steps_are_true_and_use_every_number_once() -> None:
    for problem in dealt(chain, 200):
        sums = problem.question.removeprefix("What is ").removesuffix("?")
        assert eval(sums) == int(problem.answer)
        for step in problem.steps:
            left, _, right = step.partition("=")
            assert eval(left) == int(right)
            assert 0 <= int(right) <= 999
        terms = re.findall(r"\d+", sums)
        assert [re.findall(r"\d+", step)[1] for step in problem.steps] == terms[1:]


def test_chain_takes_its_length() -> None:
    rng = random.Random(0)
    assert {len(chain.generate(rng, terms=(4, 4)).steps) for _ in range(20)} == {3}


def test_iterate_steps_are_true_and_each_follows_from_the_one_before() -> None:
    for problem in dealt(iterate, 100):
        x, factor, term, times = map(
            int,
            re.fullmatch(
                r"x = (\d+); apply x -> \((\d+)x \+ (\d+)\) mod 97, (\d+) times", problem.question
            ).groups(),  # type: ignore[union-attr]
        )
        for left, step in zip(range(times, 0, -1), problem.steps, strict=True):
            new = (factor * x + term) % 97
            assert step == f"{left}:{x}*{factor}={factor * x}+{term}={factor * x + term}%97={new}"
            x = new
        assert problem.answer == str(x)


def graph(question: str) -> list[tuple[str, str]]:
    facts = re.findall(r"(?:Every )?(\w+) is a (\w+)\.", question)
    return [(a, b) for a, b in facts]


def test_reach_steps_are_facts_and_the_other_choice_cannot_be_reached() -> None:
    for problem in dealt(reach, 100):
        edges = graph(problem.question)
        name, *choices = re.fullmatch(  # type: ignore[union-attr]
            r".* Is (\w+) a (\w+) or (\w+)\?", problem.question
        ).groups()
        ways = ways_from(edges, name)
        target = problem.notes[-1]
        assert target in choices
        assert [c for c in choices if c in ways] == [target]
        assert len(problem.steps) == ways[target]
        assert all(step in problem.question for step in problem.steps)
        assert problem.steps[0].startswith(f"{name} is a ")
        assert not {a for a, _ in edges} & set(choices), "both choices are leaves"


def ways_from(edges: Sequence[tuple[str, str]], root: str) -> dict[str, int]:
    """Shortest distance of every node that can be reached."""
    distance, queue = {root: 0}, [root]
    for node in queue:
        for parent, child in edges:
            if parent == node and child not in distance:
                distance[child] = distance[node] + 1
                queue.append(child)
    return distance


def statistics_of(questions: Sequence[tuple[str, int]]) -> dict[str, float]:
    """Means over (question, number of steps)."""
    graphs = [graph(question) for question, _ in questions]
    nodes = [{n for edge in edges for n in edge} for edges in graphs]
    leaves = [ns - {a for a, _ in edges} for ns, edges in zip(nodes, graphs, strict=True)]
    parents = [len(edges) / len({b for _, b in edges}) for edges in graphs]
    steps = [num for _, num in questions]
    return {
        "nodes": statistics.mean(map(len, nodes)),
        "nodes, spread": statistics.stdev(map(len, nodes)),
        "edges": statistics.mean(map(len, graphs)),
        "edges, spread": statistics.stdev(map(len, graphs)),
        "persons": statistics.mean(sum(n[0].isupper() for n in ns) for ns in nodes),
        "leaves": statistics.mean(map(len, leaves)),
        "parents": statistics.mean(parents),
        "reached": statistics.mean(
            len(ways_from(edges, question.split()[-5]))
            for edges, (question, _) in zip(graphs, questions, strict=True)
        ),
        "words": statistics.mean(len(question.split()) for question, _ in questions),
        "steps": statistics.mean(steps),
        "steps, spread": statistics.stdev(steps),
    }


@pytest.mark.skipif(not PROSQA.exists(), reason="ProsQA's validation set is not on this machine")
def test_reach_is_like_prosqa() -> None:
    theirs = json.loads(PROSQA.read_text())
    want = statistics_of([(p["question"].strip(), len(p["steps"])) for p in theirs])
    got = statistics_of([(p.question, len(p.steps)) for p in dealt(reach, 600)])
    assert got == {name: pytest.approx(value, rel=0.1) for name, value in want.items()}
    words = {w for p in theirs for w in re.findall(r"\w+", p["question"])}
    assert words - {"Every", "Is", "is", "a", "or", "an"} == {*reach.PERSONS, *reach.SPECIES}


@pytest.mark.skipif(not PROSQA.exists(), reason="ProsQA's validation set is not on this machine")
def test_prosqa_itself_passes_the_check_and_is_worded_alike() -> None:
    for p in json.loads(PROSQA.read_text()):
        problem = Problem(
            p["question"].strip(), tuple(p["steps"]), ("",) * len(p["steps"]), p["answer"]
        )
        assert reach.check(problem, f"# {p['answer']}")
        choices = re.search(r"Is \w+ a (\w+) or (\w+)\?$", problem.question)
        assert choices
        wrong = next(c for c in choices.groups() if f" {c}." not in p["answer"])
        assert not reach.check(problem, f"# {p['answer'].split()[0]} is a {wrong}.")
        assert len(graph(problem.question)) == len(p["edges"])


def test_no_count_that_lost_digits_has_the_same_answer() -> None:
    """106 is 96 + 10, and all orders divide 96: a model that read a 10 was right."""
    assert iterate.misread(106) == {10, 16, 6, 1, 0}
    assert not iterate.countable(106)
    with pytest.raises(ValueError, match="106 to 106 applications can be shortened"):
        iterate.generate(random.Random(0), "test", (106, 106))
    for times in (21, 42, 107, 211, 422):
        assert iterate.countable(times)
        for seed in range(20):
            problem = iterate.generate(random.Random(seed), "test", (times, times))
            x, factor, term, _, _ = map(int, re.findall(r"\d+", problem.question))
            assert len(problem.steps) == times
            for short in iterate.misread(times):
                value = x
                for _ in range(short):
                    value = (value * factor + term) % iterate.MODULUS
                assert str(value) != problem.answer

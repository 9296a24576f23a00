"""The table of ways: what is recorded, what is gone on from, which differences are told."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.bench.suites import ways
from edgereason.errors import UsageError
from support.places import SCRIPTED


def options(folder: Path, **changed: object) -> argparse.Namespace:
    path = folder / "q.jsonl"
    rows = [{"question": "What is 17 * 3?", "answer": "51"}, {"question": "Why?", "answer": "1"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    known = {
        "model": SCRIPTED, "context": 4096, "seed": 0, "threads": 0, "questions": path, "num": 2,
        "skip": 0, "sums": 0, "facts": 0, "tasks": "", "batch": 2, "think_budget": 60,
        "answer_budget": 16, "ways": "think,no-think", "record": folder / "rows.jsonl",
    }  # fmt: skip
    return argparse.Namespace(**known | changed)


def test_every_way_is_asked_and_what_is_recorded_is_not_asked_again(tmp_path: Path) -> None:
    said: list[str] = []
    found = ways.measure(options(tmp_path), said.append).figures
    assert found["think"]["right"] == 1
    assert found["no-think"]["right"] == 0
    record = tmp_path / "rows.jsonl"
    lines = record.read_text().splitlines()
    assert len(lines) == 4
    # A cut run: the last line is half a line, and is asked anew.
    record.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])
    again = ways.measure(options(tmp_path), said.append).figures
    assert again["think"] == found["think"]
    assert again["no-think"]["right"] == 0
    # Figures of another budget are others.
    ways.measure(options(tmp_path, think_budget=5), said.append)
    told = [json.loads(line)["asked"] for line in record.read_text().splitlines()]
    assert [each.split(", ")[1] for each in told] == ["thinking 60"] * 4 + ["thinking 5"] * 4


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("hello\nthere\n")
    with pytest.raises(UsageError, match="line 1: not a line of this bench"):
        ways.measure(options(tmp_path), lambda text: None)


@pytest.mark.parametrize(("gold", "right"), [("51", 2), ("51.0", 0)])
def test_questions_of_tasks_are_judged_by_their_checkers(
    tmp_path: Path, gold: str, right: int
) -> None:
    task = tmp_path / "sums.jsonl"  # `short` goes by the letter: 51.0 is not 51
    lines = [{"question": f"{i}: What is 17 * 3?", "answer": gold} for i in range(3)]
    task.write_text("\n".join(json.dumps(line | {"checker": "short"}) for line in lines))
    given = options(tmp_path, questions=None, tasks=str(task), num=2)
    found = ways.measure(given, lambda text: None).figures["think"]
    assert (found["right"], found["num"]) == (right, 2)


def test_tasks_are_no_part_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tasks goes without"):
        ways.measure(options(tmp_path, tasks="chain"), lambda text: None)
    with pytest.raises(UsageError, match="no task called 'chian'"):
        ways.measure(options(tmp_path, questions=None, tasks="chian"), lambda text: None)


def rows(way: str, rights: str) -> list[ways.Row]:
    return [
        ways.Row("m", way, f"q{i}", right == "1", 10, 1.0, "") for i, right in enumerate(rights)
    ]


def test_few_questions_tell_nothing_apart() -> None:
    found = ways.findings(rows("a", "1100") + rows("b", "1010"), ["a", "b"])
    difference = found.figures["b"]["difference"]
    assert (difference["gained"], difference["lost"], difference["points"]) == (1, 1, 0)
    assert "not told apart" in found.tables[1].rows[0]
    better = ways.findings(rows("a", "0" * 40) + rows("b", "1" * 20 + "0" * 20), ["a", "b"])
    assert "better" in better.tables[1].rows[0]
    low, high = (better.figures["b"]["difference"][name] for name in ("low", "high"))
    assert 25 < low < 50 < high < 75


def test_the_frontier_is_told_with_the_share_of_draws_that_have_it() -> None:
    def told(way: str, rights: str, seconds: float) -> list[ways.Row]:
        return [replace(row, seconds=seconds) for row in rows(way, rights)]

    dear = told("dear", "1" * 10 + "0" * 10, 4.0)
    cheap = told("cheap", "1" * 10 + "01" + "0" * 8, 1.0)  # one better: in some draws not at all
    never = told("never", "0" * 20, 0.5)
    found = ways.findings([*dear, *cheap, *never], ["dear", "cheap", "never"]).figures
    assert [found[way]["on_frontier"] for way in found] == [False, True, False]
    assert [found[way]["of_draws"] for way in found] == [0, 1, 0]
    # Which of two is right oftener is chance; the dearer one is on the frontier where it is.
    other = told("other", "0" * 9 + "1" * 11, 8.0)
    found = ways.findings([*dear, *other], ["dear", "other"]).figures
    assert found["dear"]["of_draws"] == 1
    assert 0.3 < found["other"]["of_draws"] < 0.8


def test_what_auto_would_come_to_is_read_off_its_draft_and_the_thoughts() -> None:
    def made(way: str, rights: str, sure: list[float], seconds: float) -> dict[str, ways.Row]:
        return {
            f"q{i}": ways.Row("m", way, f"q{i}", right == "1", 10, seconds, "", confidence=c)
            for i, (right, c) in enumerate(zip(rights, sure, strict=True))
        }

    thoughts = made("think", "0111", [0.0] * 4, 4.0)
    drafts = made("bare", "1100", [0.9, 0.8, 0.2, 0.1], 1.0)
    told = ways.read_off(thoughts, drafts, num=4)
    assert [(each["from"], each["kept"], each["right"]) for each in told] == [
        *((0.1, 4, 2), (0.2, 3, 3), (0.8, 2, 4), (0.9, 1, 4), (None, 0, 3))
    ]
    assert [each["share of time"] for each in told] == [0.25, 0.5, 0.75, 1.0, 1.25]
    found = ways.findings([*thoughts.values(), *drafts.values()], ["think", "bare"])
    assert found.figures["bare"]["as_draft"][2]["right"] == 4

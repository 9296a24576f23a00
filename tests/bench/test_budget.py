"""Thinking counted from the tokens themselves, against what is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.suites import budget
from edgereason.records import Answer, BudgetReport, ThinkReport, Usage
from support.places import SCRIPTED


def test_thinking_is_counted_from_the_bytes_of_tokens() -> None:
    marks = (["<t>"], ["</t>"])
    assert budget.count_thinking([b"a", b"b", b"</", b"t>", b"c"], *marks, inside=True) == 3
    assert budget.count_thinking([b"a", b"b"], *marks, inside=False) == 0
    reopened = [b"x", b"<t>", b"a", b"b", b"</t>", b"y", b"<t", b">", b"c"]
    assert budget.count_thinking(reopened, *marks, inside=False) == 3


@pytest.mark.parametrize(
    ("text", "told", "left", "expected"),
    [
        ("x <t> a b c d", "ab", 2, 2),  # closed by force after b: what follows is an answer
        ("x <t> a b c d", "abcd", 2, 4),  # not closed, though it should have been
        ("x <t> a b </t> c", "ab", 2, 2),  # closed by force, and then once more by itself
        ("x <t> a b </ t> c", "ab", 2, 2),
        ("x <t> a b </ t> c", "ab", 5, 3),  # closed by itself; its mark is two tokens
        ("<t> a </t> y <t> b c", "ab", 2, 2),  # the second of two blocks is cut
        ("<t> a <t> b c", "ab", 3, 3),  # a mark inside a block opens none
        ("x <t> y <t> z", "", 0, 0),  # nothing may be thought
        ("x <t> a b c", "abc", 9, 3),  # it ended inside
    ],
)
def test_a_block_that_is_closed_by_force_ends_there(
    text: str, told: str, left: int, expected: int
) -> None:
    pieces = [piece.encode() for piece in text.split()]
    marks = (["<t>"], ["</t>"])
    assert budget.count_thinking(pieces, *marks, inside=False, told=told, left=left) == expected


@pytest.mark.parametrize(
    ("used", "counted", "expected"),
    [(17, [17, 3], (0, 0, 0)), (18, [18, 3], (1, 1, 0)), (17, [19, 3], (0, 1, 1))],
)
def test_a_budget_is_checked_against_report_and_count(
    used: int, counted: list[int], expected: tuple[int, int, int]
) -> None:
    answer = Answer(
        "4",
        usage=Usage(reasoning_tokens=20 if used == 17 else 21),
        budget=BudgetReport(ThinkReport(used=used)),
    )
    count = budget.Count()
    budget.check(count, 17, answer, counted)
    assert (count.reported_over, count.counted_over, count.miscounted) == expected
    assert bool(count.details) == bool(sum(expected))


def test_blocks_that_an_answer_opens_again_are_counted_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.toml"
    script.write_text("""control = ["<think>", "</think>"]
[[rules]]
after = "<think>\\n"
reply = "ab</think>"

[[rules]]
after = "</think>"
reply = "So <think>and again</think> 4 it is"
""")
    manifest = json.loads((Path(SCRIPTED) / "edgereason.json").read_text())
    manifest["files"] = [{"path": script.name, "size_bytes": script.stat().st_size}]
    (tmp_path / "edgereason.json").write_text(json.dumps(manifest))
    asked = f"--model {tmp_path} --budgets 5 30 --alone 1 --batched 0 --wait-idle 0 --quiet"
    assert runner.run(budget.BENCH, asked.split()) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert figures["violations"] == 0
    assert [row["most used"] for row in figures["by_budget"]] == [5, 30]

"""The benches' arithmetic, their load, and one whole run on the scripted engine."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgereason.bench.harness import questions, report, runner
from edgereason.bench.harness.stream import Stream
from edgereason.bench.suites import auto, budget, vote
from edgereason.bench.suites.parity import Reference, first_difference
from edgereason.bench.suites.threads import adaptation, windows
from edgereason.errors import UsageError
from edgereason.records import Answer, BudgetReport, Candidate, ThinkReport, Usage
from support.places import SCRIPTED

PER = {"minutes": 60, "legs": 4, "days": 7, " * ": None}


def silent(text: str) -> None:
    """No progress."""


# --- statistics -----------------------------------------------------------------------------------


def test_turns_alternate_and_pair_up() -> None:
    order: list[str] = []

    def system(name: str) -> int:
        order.append(name)
        return len(order)

    found = runner.turns({"a": lambda: system("a"), "b": lambda: system("b")}, 3, silent)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert runner.ratios([2.0, 9.0, 1.0], [4.0, 3.0, 0.0]) == [0.5, 3.0]


def test_quantiles_are_linear_between_values() -> None:
    assert runner.quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert runner.quantile([0.0, 10.0], 0.25) == 2.5
    assert runner.quantile([7.0], 0.99) == 7.0
    assert math.isnan(runner.quantile([], 0.5))
    assert runner.spread([]) == {"num": 0}
    assert runner.spread([1.0, 5.0, 2.0]) == {"num": 3, "median": 2.0, "min": 1.0, "max": 5.0}


# --- load of the machine --------------------------------------------------------------------------


def test_busy_cores_spin_and_are_gone_afterwards() -> None:
    with runner.BusyCores(2) as busy:
        children = [psutil.Process(pid) for pid in busy.pids]
        assert all(child.is_running() for child in children)
    assert not any(child.is_running() for child in children)


def test_a_busy_core_ends_when_its_parent_dies(tmp_path: Path) -> None:
    code = (
        "import os; from edgereason.bench.harness.runner import BusyCores\n"
        "busy = BusyCores(1).__enter__(); print(busy.pids[0], flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    pid = int(done.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=20)
    assert not psutil.pid_exists(pid)


def test_our_children_are_not_the_others() -> None:
    meter = runner.OthersMeter()
    with runner.BusyCores(1) as busy:
        spun = psutil.Process(busy.pids[0])
        before = meter.others()
        while spun.cpu_times().user < 0.3:
            pass
        machine, own, now = meter._read()
    assert before >= 0
    assert own > 0.3
    assert machine >= 0.3
    assert now > 0


def test_waiting_for_a_quiet_machine_ends_and_says_how() -> None:
    loads = iter([1.5, 0.7, 0.05])
    quiet = runner.wait_idle(60, load=lambda seconds: next(loads))
    assert not quiet.timed_out
    assert quiet.others_cores == 0.05
    noisy = runner.wait_idle(0, load=lambda seconds: 1.5)
    assert noisy.timed_out
    assert noisy.others_cores == 1.5


# --- questions ------------------------------------------------------------------------------------


def test_questions_are_read_with_their_gold_answers(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(
        '{"question": "1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n\n{"question": "why?"}\n',
        encoding="utf-8",
    )
    assert questions.read_questions(path) == [
        questions.Question("1 + 1?", "2"),
        questions.Question("why?", ""),
    ]
    assert len(questions.read_questions(path, 1)) == 1


@pytest.mark.parametrize("text", ["", "no json\n", '{"q": 1}\n', "[1]\n"])
def test_a_file_without_questions_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        questions.read_questions(path)


def test_results_of_sums_are_right() -> None:
    generator = random.Random(1)
    drawn = {q.text: q.gold for q in (questions.short_question(generator) for _ in range(200))}
    for text, gold in drawn.items():
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        if " + " in text or text.startswith("Add"):
            assert int(gold) == sum(numbers)
        elif "half" in text:
            assert 2 * int(gold) == numbers[0]
        elif "minus" in text:
            assert int(gold) == numbers[0] - numbers[1]
        else:
            (per,) = (n for word, n in PER.items() if word in text)
            assert int(gold) == numbers[0] * (per or numbers[-1])
    easy = questions.easy_sum(generator)
    assert int(easy.gold) == sum(int(number) for number in re.findall(r"\d+", easy.text))


def test_word_problems_are_longer_than_sums() -> None:
    generator = random.Random(0)
    short = [len(questions.short_question(generator).text) for _ in range(50)]
    long = [len(questions.word_problem(generator).text) for _ in range(50)]
    assert max(short) < min(long)


# --- parity, budgets, votes, threads --------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "position", "margin"),
    [([1, 2, 3], None, None), ([1, 5, 3], 1, 0.2), ([1, 2], 2, 0.3), ([1, 2, 3, 4], 3, 0.4)],
)
def test_the_first_difference_comes_with_its_margin(
    got: list[int], position: int | None, margin: float | None
) -> None:
    reference = Reference((9,), (1, 2, 3), ((1, 0),) * 4, (0.1, 0.2, 0.3, 0.4))
    found = first_difference(7, reference, got)
    assert (found and found.position) == position
    assert (found and found.margin) == margin


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


def test_winners_are_compared_as_values() -> None:
    question = questions.Question("?", "18")
    stopped = vote.vote_of(_elected("$18.00", 3, 1), 1.0)
    full = vote.vote_of(_elected("The answer is 18.", 4, 4), 2.0)
    pair = vote.Pair(question, stopped, full)
    assert pair.same_winner
    assert pair.tied
    assert (stopped.share, stopped.num_votes) == (0.75, 4)
    assert stopped.tally == (("$18.00", 3), ("7", 1))
    cut = vote.Pair(
        question, replace(stopped, samples=((1, 2), None)), replace(full, samples=((1, 2), (3,)))
    )
    assert cut.same_samples
    assert not replace(cut, full=replace(full, samples=((1, 3), (3,)))).same_samples
    figures = vote.findings([pair]).figures
    assert figures["all"]["early stop"]["accuracy"] == 1
    assert figures["median_time_ratio"] == 0.5


def test_a_threshold_keeps_drafts_and_pays_for_the_others() -> None:
    sums = [
        auto.Sum(0.9, draft_right=True, thought_right=False, draft_tokens=5, thought_tokens=50),
        auto.Sum(0.5, draft_right=False, thought_right=True, draft_tokens=6, thought_tokens=60),
    ]
    assert auto.row(sums, 0.0) == (0.0, 2, 1, 1, 11)
    assert auto.row(sums, 0.8) == (0.8, 1, 1, 2, 71)
    assert auto.row(sums, 1.01) == (1.01, 0, 0, 1, 121)


def _elected(answer: str, votes: int, others: int) -> Answer:
    candidates = (Candidate(answer, votes), Candidate("7", others))
    return Answer(answer, candidates=candidates, usage=Usage(answer_tokens=votes + others))


def test_windows_count_tokens() -> None:
    times = [index / 10 for index in range(31)]  # ten a second
    rates = list(windows(times, 0.0, 2.0))
    assert len(rates) == 31
    assert all(rate in (8.0, 10.0, 12.0) for _, rate in rates)
    assert Stream(times, []).rate() == pytest.approx(10.0)


def test_adaptation_begins_with_the_first_window_that_is_fast_enough() -> None:
    slow = [index / 10 for index in range(10)]  # ten a second, then a hundred
    fast = [1.0 + index / 100 for index in range(300)]
    found = adaptation("change", Stream(slow + fast, [(0.0, 2), (1.0, 1)]), 0.0, 3.9, 100.0)
    assert found.adapted_s == pytest.approx(0.95, abs=0.06)
    assert found.below == 0
    assert found.settled == pytest.approx(1.0, abs=0.01)
    assert found.lowest == 10.0
    assert found.threads == 1
    kept = adaptation("change", Stream(slow + fast, [(-5.0, 1), (3.95, 2)]), 0.0, 3.9, 100.0)
    assert kept.threads == 1  # what was in force when nothing changed any more
    never = adaptation("change", Stream(slow, [(0.0, 2)]), 0.0, 0.9, 100.0)
    assert never.adapted_s == math.inf


# --- a whole run ----------------------------------------------------------------------------------


def test_a_bench_ends_in_one_json_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "wait_idle", lambda timeout: runner.Quiet(0.0, 0.0, False))
    arguments = ["--model", SCRIPTED, "--budgets", "0", "5", "--alone", "1", "--batched", "4"]
    assert runner.run(budget.BENCH, [*arguments, "--save", str(tmp_path), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    last = captured.out.splitlines()[-1]
    report = json.loads(last)
    assert report["bench"] == "budget"
    assert report["command"].startswith("python -m edgereason.bench budget --model")
    assert report["machine"]["num_cores"] >= 1
    assert report["figures"]["violations"] == 0
    assert report["figures"]["wrong"] == []
    assert [row["runs"] for row in report["figures"]["by_budget"]] == [80, 80]
    assert json.loads((tmp_path / "budget.json").read_text()) == report
    assert "## Think budgets" in (tmp_path / "budget.md").read_text()


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


def test_a_bench_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "no-such-model", "--wait-idle", "0", "--quiet"]
    assert runner.run(budget.BENCH, arguments) == 3
    assert "no-such-model" in capsys.readouterr().err


def test_figures_that_are_not_numbers_are_null(tmp_path: Path) -> None:
    assert report._plain({"a": math.nan, "b": [1, tmp_path]}) == {
        "a": None,
        "b": [1, str(tmp_path)],
    }
    assert report.shown(0.12345) == "0.123"
    assert report.shown(1234.5) == "1234"
    assert report.shown(None) == "-"


def test_wilsons_interval() -> None:
    """Against the closed form at its ends, and figures of any table of it."""
    assert runner.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert runner.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-3)
    assert runner.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-3)


def test_a_saved_bench_draws_its_plots_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws with matplotlib")
    points = {"ours": [(1.0, 2.0), (10.0, 3.0)], "theirs": [(1.0, 1.0)]}
    plot = runner.Plot("reach", "How far", "tokens", "share", points, log_x=True)
    for folder in ("one", "two"):
        bench = runner.Bench(
            "toy",
            "",
            lambda parser: None,
            lambda options, say: runner.Findings({}, (), (), (plot,)),
        )
        save = ["--save", str(tmp_path / folder), "--quiet", "--wait-idle", "0"]
        assert runner.run(bench, save) == 0
    drawn = (tmp_path / "one" / "reach.svg").read_text("utf-8")
    assert drawn.count("<use ") >= 3  # the points
    assert drawn == (tmp_path / "two" / "reach.svg").read_text("utf-8")
    assert "![How far](reach.svg)" in (tmp_path / "one" / "toy.md").read_text("utf-8")

"""`edgereason bench`: suites by name, a sweep from its options to its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgereason.cli.bench.pareto import seconds
from edgereason.errors import UsageError
from support.cli_runner import Cli
from support.places import SCRIPTED


@pytest.fixture
def task(tmp_path: Path) -> str:
    path = tmp_path / "mine.jsonl"
    rows = [{"question": "What is 17 * 3?", "answer": "51"}, {"question": "Why?", "answer": "1"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sweep(cli: Cli, task: str, out: Path, *more: str):  # a Ran
    return cli(
        "bench", "pareto", "--models", SCRIPTED, "--tasks", task, "--out", str(out),
        "--ways", "think,think:4,no-think", "--deadlines", "5s", "--questions", "0",
        "--answer-budget", "16", "--device", "here", *more,
    )  # fmt: skip


def test_a_sweep_asks_writes_its_report_and_is_done(cli: Cli, task: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = sweep(cli, task, out)
    assert ran.code == 0, ran.err
    assert "3 settings, 2 of them run, on 2 questions\n0 trials are there\n" in ran.err
    assert "6 asked, 2 read off; report: " in ran.out
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "report.md", "points.csv", "mine.svg", "mine-within.svg",
            "trials-here.jsonl", "sweep-here.json"} == names  # fmt: skip
    again = sweep(cli, task, out)
    assert "0 asked, 0 read off" in again.out


def test_a_sweep_as_json(cli: Cli, task: str, tmp_path: Path) -> None:
    found = sweep(cli, task, tmp_path / "out", "--json").json
    assert (found["asked"], found["read_off"], found["out_of_time"]) == (6, 2, False)
    by_way = {(point["way"], point["deadline_ms"]): point for point in found["points"]}
    assert by_way["think", None]["accuracy"] == 0.5
    assert by_way["think:4", None]["accuracy"] == 0
    assert by_way["think", 5000.0]["accuracy"] == 0.5
    assert by_way["think", None]["command"].startswith(f"edgereason run -m {SCRIPTED} ")


def test_the_time_limit_holds_and_a_later_run_goes_on(cli: Cli, task: str, tmp_path: Path) -> None:
    ran = sweep(cli, task, tmp_path / "out", "--time-limit", "0s")
    assert ran.code == 2  # there is nothing to report yet
    assert "no trials in" in ran.err
    assert sweep(cli, task, tmp_path / "out").code == 0


def test_the_report_of_two_devices(cli: Cli, task: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep(cli, task, out)
    there = (out / "trials-here.jsonl").read_text().replace('"device": "here"', '"device": "there"')
    (out / "trials-there.jsonl").write_text(there)
    found = cli("bench", "report", str(out), "--deadlines", "", "--json").json
    assert [point["device"] for point in found["points"]].count("there") == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--drop", "all"), "no rule of dropping called 'all'"),
        (("--time-limit", "soon"), "--time-limit must be a time, got 'soon'"),
        (("--deadlines", "0s"), "a deadline must be more than 0"),
        (("--questions", "-1"), "num_questions must be 0 or more, got -1"),
        (("--ways", "thnik"), "no strategy called 'thnik'"),
        (("--tasks", "chian"), "no task called 'chian'"),
        (("--models", "none.gguf"), "no such file: none.gguf"),
        (("--quants", "q4_0"), "no model has a place for a format"),
    ],
)
def test_wrong_options_are_one_line(
    cli: Cli, task: str, tmp_path: Path, more: tuple[str, str], message: str
) -> None:
    ran = sweep(cli, task, tmp_path / "out", *more)
    assert ran.code in (2, 3)
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_suites_are_commands(cli: Cli) -> None:
    told = cli("bench", "--help").out
    assert "pareto" in told
    assert "latency" in told
    assert "Suite: " in told
    helped = cli("bench", "budget", "--help")
    assert helped.code == 0
    assert "usage: edgereason bench budget" in helped.out
    assert cli("bench", "budget", "--nope").code == 2
    ran = cli("bench", "laten")
    assert ran.code == 2
    assert "laten" in ran.err


def test_a_suite_runs(cli: Cli) -> None:
    ran = cli("bench", "budget", "--model", SCRIPTED, "--budgets", "0", "--alone", "1",
              "--batched", "1", "--wait-idle", "0")  # fmt: skip
    assert ran.code == 0
    report = json.loads(ran.out.splitlines()[-1])
    assert report["command"].startswith("edgereason bench budget --model")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("500ms", 0.5), ("1.5h", 5400), (" 30 m ", 1800)]
)
def test_times_have_units(text: str, expected: float) -> None:
    assert seconds(text, "--x") == expected


def test_a_time_without_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="--x must be a time, got '5 days'"):
        seconds("5 days", "--x")

"""Turns, statistics, the load of the machine, and what a run prints."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgereason.bench.harness import runner
from edgereason.bench.suites import budget
from support.places import SCRIPTED


def silent(text: str) -> None:
    """No progress."""


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
    assert report["command"].startswith("edgereason bench budget --model")
    assert report["machine"]["num_cores"] >= 1
    assert report["figures"]["violations"] == 0
    assert report["figures"]["wrong"] == []
    assert [row["runs"] for row in report["figures"]["by_budget"]] == [80, 80]
    assert json.loads((tmp_path / "budget.json").read_text()) == report
    assert "## Think budgets" in (tmp_path / "budget.md").read_text()


def test_a_bench_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "no-such-model", "--wait-idle", "0", "--quiet"]
    assert runner.run(budget.BENCH, arguments) == 3
    assert "no-such-model" in capsys.readouterr().err


def test_wilsons_interval() -> None:
    """Against the closed form at its ends, and figures of any table of it."""
    assert runner.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert runner.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-3)
    assert runner.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-3)

"""What is told of figures: JSON, tables and plots."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgereason.bench.harness import report, runner


def test_figures_that_are_not_numbers_are_null(tmp_path: Path) -> None:
    assert report._plain({"a": math.nan, "b": [1, tmp_path]}) == {
        "a": None,
        "b": [1, str(tmp_path)],
    }
    assert report.shown(0.12345) == "0.123"
    assert report.shown(1234.5) == "1234"
    assert report.shown(None) == "-"


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

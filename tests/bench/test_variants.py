"""The bench of the nano family: which ways are asked, and what is counted."""

from __future__ import annotations

import json

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.harness.problems import problems
from edgereason.bench.harness.ways import Way
from edgereason.bench.suites import variants
from edgereason.records import Answer, Usage
from support.places import SCRIPTED


def test_a_score_counts_right_answers_and_the_most_memory() -> None:
    way = Way("think", 32, model="nano")
    asked = problems("chain", 2, seed=0)
    answers = [
        Answer(asked[0].answer, usage=Usage(reasoning_tokens=10, answer_tokens=2, peak_cells=30)),
        Answer("-1", usage=Usage(reasoning_tokens=20, answer_tokens=4, peak_cells=40)),
    ]
    found = variants.score("chain", way, asked, answers, cell_bytes=2048)
    assert (found.right, found.num, found.tokens, found.peak_bytes) == (1, 2, 18, 80 * 1024)
    told = variants.findings([found])
    assert told.figures["rows"][0]["way"] == "think 32"
    assert told.figures["rows"][0]["right %"] == 50.0
    assert told.plots[0].series == {"think 32": [(18, 50.0)]}


def test_a_model_that_learned_the_operator_is_asked_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--models", "--trained", SCRIPTED, "--num", "2", "--wait-idle", "0", "--quiet"]
    assert runner.run(variants.BENCH, arguments) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    (row,) = report["figures"]["rows"]
    assert row["task"] == "operator"
    assert row["model"] == SCRIPTED


def test_a_model_that_is_missing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--models", "nobody", "--num", "2", "--wait-idle", "0", "--quiet"]
    assert runner.run(variants.BENCH, [*arguments, "--trained", SCRIPTED]) == 0
    out = capsys.readouterr().out
    assert "nobody is left out: no model called 'nobody'" in " ".join(out.split())
    assert runner.run(variants.BENCH, arguments) == 2
    assert "none of the models is there" in capsys.readouterr().err

"""The bench of long ways: its arithmetic, and one whole run on the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.suites import sawtooth
from edgereason.bench.tasks.base import split_of
from edgereason.records import Answer, BudgetReport, PhaseReport, StopReason, Timings, Usage
from support.places import SCRIPTED

SCRIPT = """
words = ["<summary>", "</summary>"]
control = ["<|im_start|>", "<think>", "</think>"]

[[rules]]
after = "<think>\\n"
reply = "1:2\\n</think>"

[[rules]]
after = "1:2\\n</think>"
reply = "\\n\\n<summary>\\n1:2\\n</summary>"

[[rules]]
after = "</history><|im_end|>\\n<|im_start|>assistant\\n<think>\\n"
reply = "the last\\n</think>"

[[rules]]
after = "the last\\n</think>"
reply = "\\n\\n55"
"""


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    (tmp_path / "script.toml").write_text(SCRIPT)
    manifest = json.loads((Path(SCRIPTED) / "edgereason.json").read_text())
    manifest["files"] = [{"path": "script.toml", "size_bytes": len(SCRIPT)}]
    manifest["variant"] = {"kind": "infty_think", "round_tokens": 64, "summary_tokens": 16}
    (tmp_path / "edgereason.json").write_text(json.dumps(manifest))
    return str(tmp_path)


def answer(text: str, *, tokens: int, cells: int, finish: StopReason = StopReason.STOP) -> Answer:
    return Answer(
        text,
        finish=finish,
        usage=Usage(reasoning_tokens=tokens - 1, answer_tokens=1, peak_cells=cells),
        budget=BudgetReport(),
        timings=Timings(total_ms=2.0 * tokens),
        phases=(
            PhaseReport("think", 5, "budget", 1.0, "think"),
            PhaseReport("summary", 5, "stop", 1.0, "carry"),
            PhaseReport("think", 5, "stop", 1.0, "think"),
        ),
    )


def test_a_row_counts_what_the_answers_say() -> None:
    asked = sawtooth.problems(2, 3, seed=0)
    right = answer(f"x is {asked[0].answer}", tokens=10, cells=70)
    wrong = answer("x", tokens=30, cells=50, finish=StopReason.CONTEXT)
    found = sawtooth.row("rounds", asked, [right, wrong], cell_bytes=100)
    assert (found.times, found.num, found.right) == (3, 2, 1)
    assert (found.tokens, found.rounds, found.cut_rounds) == (20, 2, 1)
    assert (found.ms, found.ms_per_token) == (40, 2)
    assert (found.peak_cells, found.peak_bytes) == (70, 7000)
    assert found.ended == {"stop": 1, "context": 1}


def test_all_ways_get_the_same_problems_which_no_training_saw() -> None:
    first, second = sawtooth.problems(3, 20, seed=1), sawtooth.problems(3, 20, seed=1)
    assert first == second != sawtooth.problems(3, 20, seed=2)
    assert {len(problem.steps) for problem in first} == {20}
    assert all(split_of(problem.question) == "test" for problem in first)


def test_one_run(bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save = tmp_path / "out"
    command = ["--model", bundle, "--context", "320", "--num", "2", "--contexts", "0.5", "2"]
    command += ["--wait-idle", "0", "--quiet", "--save", str(save)]
    assert runner.run(sawtooth.BENCH, command) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["rows"]
    assert [row["way"] for row in rows[::2]] == ["rounds", "plain, KV of 320", "plain, KV for all"]
    assert [row["rounds"] for row in rows[:2]] == [2, 2]
    assert all(
        row["contexts"] == pytest.approx(at, rel=0.2)
        for row, at in zip(rows, (0.5, 2) * 3, strict=True)
    )
    assert all(0 < row["peak_cells"] <= 320 for row in rows)
    assert rows[0]["ended"] == {"stop": 2}
    drawn = {path.name for path in save.iterdir()}
    plots = {f"sawtooth-{name}.svg" for name in ("right", "kv", "time")}
    assert drawn == {"sawtooth.json", "sawtooth.md", *plots}

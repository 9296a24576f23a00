"""The bench of prefixes, on a tiny model: every way is asked the same, and the table adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.suites import prefix as module
from edgereason.models.bundle import open_bundle
from edgereason.models.prefix_file import Prefix, base_hash, write_prefix
from support.tiny_models import EMBD, HEADS, KV_HEADS, LAYERS, write_model

np: Any = pytest.importorskip("numpy")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    model = write_model(tmp_path / "tiny.gguf", "dense")
    draw = np.random.default_rng(0)
    shape = (KV_HEADS, 3, EMBD // HEADS)
    rows = [draw.normal(size=shape).astype(np.float32) for _ in range(2 * LAYERS)]
    base = base_hash(open_bundle(model))
    made = Prefix("sums", base, rows[:LAYERS], rows[LAYERS:])
    write_prefix(made, tmp_path / "sums.safetensors")
    for name, key in (("problems", "answer"), ("demos", "reply")):
        lines = [json.dumps({"prompt": f"{i} + 1", key: str(i + 1)}) for i in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path


def arguments(files: Path) -> list[str]:
    line = ["--model", str(files / "tiny.gguf"), "--num", "3", "--turns", "2", "--context", "256"]
    line += ["--problems", str(files / "problems.jsonl"), "--demos", str(files / "demos.jsonl")]
    return [*line, "--prefix", str(files / "sums.safetensors"), "--answer-budget", "4", "--quiet"]


def test_every_way_is_asked(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "wait_idle", lambda timeout: runner.Quiet(0.0, 0.0, False))
    assert runner.run(module.BENCH, arguments(files)) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    rows = {row["way"]: row for row in figures["rows"]}
    assert list(rows) == ["zero-shot", "in-context", "in-context, one message", "sums"]
    assert rows["sums"]["slots"] == 3
    assert rows["sums"]["prompt_tokens"] == rows["zero-shot"]["prompt_tokens"] + 3
    assert rows["in-context"]["prompt_tokens"] <= 252
    assert 0 < figures["demos"] < 6
    assert set(figures["first_token_ms"]) == {"zero-shot", "in-context", "in-context, kept", "sums"}
    memory = figures["memory"]
    assert memory["slots"] == 12
    assert memory["peak_cells_if_copied"] - memory["peak_cells"] == 16 * 3 - 12


def test_demonstrations_that_nobody_counts_are_too_many(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More bytes than the context can hold, whatever their tokens are."""
    monkeypatch.setattr(runner, "wait_idle", lambda timeout: runner.Quiet(0.0, 0.0, False))
    demos = files / "demos.jsonl"
    demos.write_text("\n".join([demos.read_text("utf-8")] * 2000), "utf-8")
    assert runner.run(module.BENCH, arguments(files)) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert 0 < figures["demos"] < 20


def test_answers_are_compared_as_values() -> None:
    problem = module.Problem("1 + 1", "2")
    assert module.is_right(problem, "The answer is 2.0")
    assert not module.is_right(problem, "3")


def test_wrong_files_are_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "problems.jsonl").write_text('{"prompt": "x"}', "utf-8")
    assert runner.run(module.BENCH, [*arguments(files), "--wait-idle", "0"]) == 2
    assert "a line is" in capsys.readouterr().err

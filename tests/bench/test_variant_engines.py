"""The bench of variants on two engines, on a tiny random model: what was drawn is told from what
could be, and every variant is asked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="makes the model")
pytest.importorskip("transformers", reason="makes the model")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="one of the engines")

from edgereason.bench.harness import runner
from edgereason.bench.harness.ways import Way
from edgereason.bench.suites import variant_engines as bench
from edgereason.bench.suites.variant_engines import END, Choice, Drawn
from edgereason.errors import EngineError
from edgereason.models.prefix_file import Prefix, base_hash, write_prefix
from edgereason.runtime.reasoner import Reasoner
from support import hf_models

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "base"},
    "coconut": {
        "kind": "coconut",
        "latents": 3,
        "start": "<think>",
        "end": "</think>",
        "mark": "",
    },
    "infty": {"kind": "infty_think", "round_tokens": 8, "summary_tokens": 4},
}
OPTIONS = argparse.Namespace(think_budget=12, answer_budget=6, seed=0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each variant, of the same weights."""
    folder = tmp_path_factory.mktemp("models")
    for name, variant in VARIANTS.items():
        path = hf_models.save_model(folder / name, "llama", dtype="float16") / "config.json"
        more = {"max_position_embeddings": 1024, "edgereason": {"variant": variant}}
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return folder


def test_each_drawn_token_has_its_choice(models: Path, tmp_path: Path) -> None:
    bundle = bench.exported(str(models / "coconut"), tmp_path, "f16")[bench.ORT]
    with Reasoner.open(str(bundle.path), context=512, threads=1) as reasoner:
        choices = bench.Choices(reasoner.engine)
        for strategy in ("no-think", "think", "coconut", "infty-think"):
            for question in ("What is 1+2?", "The robot thinks"):
                choices.clear()
                drawn = bench.answer(reasoner, Way(strategy), question, OPTIONS)
                assert len(drawn) >= 6
                assert len(choices.rows) == len(drawn)
                for each, choice in zip(drawn, choices.rows, strict=True):
                    assert choice.best == each.token or (
                        each.token == END and reasoner.engine.ends(choice.best)
                    )
                    assert choice.margin >= 0


def test_a_row_offers_its_two_best() -> None:
    row = np.array([0.5, 3.0, -1.0, 2.25], np.float32)
    assert bench.choice(row) == Choice(best=1, second=3, margin=0.75)


def test_the_first_difference_is_told_with_its_margin() -> None:
    choices = [Choice(1, 2, 9.0), Choice(3, 4, 0.25), Choice(5, 6, 7.0)]
    exact = [Drawn("think", 0, 1), Drawn("answer", 0, 3), Drawn("answer", 1, END)]
    other = [Drawn("think", 0, 1), Drawn("answer", 0, 4), Drawn("answer", 1, 8)]
    (found,) = bench.first_difference(7, exact, other, choices)
    assert (found.question, found.phase, found.position, found.place) == (7, "answer", 0, 1)
    assert (found.margin, found.onnxruntime, found.llamacpp) == (0.25, 3, 4)
    assert found.is_second
    assert bench.first_difference(7, exact, exact, choices) == []
    (found,) = bench.first_difference(7, exact, [*exact[:2], other[2]], choices)
    assert (found.place, found.is_second) == (2, False)
    with pytest.raises(EngineError, match="3 tokens were drawn from 2"):
        bench.first_difference(7, exact, other, choices[:2])
    with pytest.raises(EngineError, match="equal tokens"):
        bench.first_difference(7, exact, exact[:2], choices)


def command(models: Path, *more: str) -> list[str]:
    line = ["--model", str(models / "plain"), "--coconut", str(models / "coconut")]
    line += ["--context", "1024", "--num", "2", "--think-budget", "12", "--answer-budget", "6"]
    return [*line, "--wait-idle", "0", "--quiet", *more]


def test_every_variant_is_asked(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = base_hash(bench.exported(str(models / "plain"), tmp_path, "f16")[bench.LLAMA])
    draw = np.random.default_rng(0)
    shape = (hf_models.KV_HEADS, 3, hf_models.EMBD // hf_models.HEADS)
    rows = [draw.normal(size=shape).astype(np.float32) for _ in range(2 * hf_models.LAYERS)]
    made = Prefix("sums", base, rows[: hf_models.LAYERS], rows[hf_models.LAYERS :])
    write_prefix(made, tmp_path / "sums.safetensors")
    more = ["--prefixes", str(tmp_path / "sums.safetensors"), "absent"]
    more += ["--infty", str(models / "infty"), "--save", str(tmp_path / "out")]
    assert runner.run(bench.BENCH, command(models, *more)) == 0
    out = capsys.readouterr().out
    rows = json.loads(out.splitlines()[-1])["figures"]["rows"]
    assert [(row["task"], row["strategy"], bool(row["prefix"])) for row in rows] == [
        ("chain", "no-think", False),
        ("chain", "think", False),
        ("operator", "think", True),
        ("reach", "coconut", False),
        ("iterate", "infty-think", False),
    ]
    for row in rows:
        assert row["num_tokens"] >= 2
        assert row["num_equal"] == 2 - len(row["differences"])
        assert all(d["margin"] < 0.2 for d in row["differences"])  # KV in float16 moves them
    report = (tmp_path / "out" / "variant_engines.md").read_text()
    assert "+ absent is left out" in report
    assert "| reach | coconut |" in report


def test_what_is_missing_is_left_out(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run(bench.BENCH, command(models, "--prefixes", "--infty", "absent")) == 0
    out = capsys.readouterr().out
    assert "absent is left out: no model called 'absent'" in out
    absent = ["--model", "absent", "--coconut", "absent", "--infty", "absent", "--wait-idle", "0"]
    assert runner.run(bench.BENCH, absent) == 2
    assert "none of the models is there" in capsys.readouterr().err

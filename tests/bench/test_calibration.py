"""What calibration is worth, from end to end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites import calibration
from edgereason.bench.suites.calibration import WAYS
from support.tiny_models import write_model

DIFFERENCE = {"num_tokens": 100, "kl_mean": 0.1, "kl_p99": 0.5, "same_top": 0.9, "perplexity": 7.0}


def test_calibrations_are_told_with_intervals() -> None:
    options = argparse.Namespace(formats=["gguf q4_0"], calibration_tokens=1000)
    kept: dict[str, Any] = {
        "export": 270.0,
        "gsm8k": [False] * 40,
        "imatrix prose": 3.0,
        "imatrix thinking": 9.0,
    }
    for index, (name, way) in enumerate(calibration._systems(options)):
        kept[f"{name} {way}: MiB"] = 90.0
        kept[f"{name} {way}: sums"] = [True] * (5 + index) + [False] * (5 - index)
        kept[f"{name} {way}: kl"] = {"thinking": DIFFERENCE, "prose": DIFFERENCE}
    found = calibration.findings(options, kept)
    rows = [dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows]
    assert [row["calibrated on"] for row in rows] == ["-", "plain", "prose", "thinking"]
    assert rows[0]["easy sums right"] == "50% (24% to 76%)"
    assert found.figures["paired_sums"]["gguf q4_0, thinking against plain"] == [2, 0]
    assert "0 of 40 right" in found.remarks[1]


@pytest.mark.slow
def test_calibration_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "#### 2"}\n' * 3)
    (tmp_path / "prose.txt").write_text("The cat sat on the mat, and he saw it. " * 30)
    arguments = [
        *("--model", str(write_model(tmp_path / "tiny.gguf", "dense"))),
        *("--questions", str(tmp_path / "q.jsonl"), "--problems", str(tmp_path / "q.jsonl")),
        *("--prose", str(tmp_path / "prose.txt"), "--calibration-tokens", "300"),
        *("--tokens", "300", "--gsm8k", "2", "--formats", "gguf q4_0"),
        *("--work", str(tmp_path / "work"), "--wait-idle", "0", "--quiet"),
    ]
    assert run(calibration.BENCH, arguments) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    divergences = {way: found[f"gguf q4_0 {way}"]["thinking"]["kl_mean"] for way in WAYS}
    assert len({*divergences.values()}) == 3  # each importance had its say
    assert found["gguf f16 plain"]["prose"]["kl_max"] == 0
    assert found["gsm8k"]["num"] == 2

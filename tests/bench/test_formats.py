"""Every format of a model, from end to end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites import formats
from support.tiny_models import write_model

DIFFERENCE = {"num_tokens": 100, "kl_mean": 0.1, "kl_p99": 0.5, "same_top": 0.9, "perplexity": 7.0}


def test_formats_are_told_in_one_table() -> None:
    kept: dict[str, Any] = {}
    for name in ("gguf f16", "onnx int4"):
        kept[f"{name}: export"] = {"size_mib": 100.0, "export_s": 2.0, "peak_mib": 300.0}
        kept[f"{name}: speed"] = {"load_s": 0.5, "prompt": 200.0, "decode": 50.0}
        kept[f"{name}: kl"] = DIFFERENCE
        kept[f"{name}: answer"] = "Paris"
    found = formats.findings(["gguf f16", "onnx int4"], kept)
    assert len(found.tables[0].rows) == 2
    row = dict(zip(found.tables[0].columns, found.tables[0].rows[1], strict=True))
    assert (row["MiB"], row["decode tok/s"], row["KL to f16"]) == (100.0, 50.0, 0.1)
    assert found.figures["onnx int4"]["answer"] == "Paris"


@pytest.mark.slow
def test_formats_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("The cat sat on the mat, and he saw it. " * 20)
    arguments = [
        *("--model", str(write_model(tmp_path / "tiny.gguf", "dense"))),
        *("--text", str(tmp_path / "text.txt"), "--tokens", "300", "--turns", "1"),
        *("--formats", "gguf f16", "gguf q4_0", "--work", str(tmp_path / "work")),
        *("--wait-idle", "0", "--quiet"),
    ]
    assert run(formats.BENCH, arguments) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert found["gguf f16"]["kl_max"] == 0 < found["gguf q4_0"]["kl_mean"]
    assert found["gguf q4_0"]["size_mib"] < found["gguf f16"]["size_mib"]
    assert found["gguf q4_0"]["decode"] > 0
    begin = time.monotonic()
    assert run(formats.BENCH, arguments) == 0  # all of it was kept
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["figures"] == found
    assert time.monotonic() - begin < 5

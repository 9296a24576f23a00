"""Benches of exported models: the child that is measured, results that are kept, what is told."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness import exports
from edgereason.bench.harness.exports import Kept, prompt_and_decode
from edgereason.bench.harness.runner import run
from edgereason.bench.suites import calibration, formats
from edgereason.bench.suites.calibration import WAYS
from edgereason.engines import llamacpp
from edgereason.errors import EngineError
from edgereason.models.bundle import open_bundle
from support.tiny_models import write_model

DIFFERENCE = {"num_tokens": 100, "kl_mean": 0.1, "kl_p99": 0.5, "same_top": 0.9, "perplexity": 7.0}


def test_a_child_is_measured() -> None:
    ran = exports.edgereason("--version")
    assert ran.out.startswith("edgereason ")
    assert ran.seconds > 0
    assert 10 < ran.peak_mib < 200
    ours = bytearray(300 << 20)  # no business of the child
    assert exports.edgereason("--version").peak_mib == pytest.approx(ran.peak_mib, rel=0.5)
    del ours
    with pytest.raises(EngineError, match=r"pull no-such-model failed: error: no model called"):
        exports.edgereason("pull", "no-such-model")


def test_results_are_kept_for_the_same_options(tmp_path: Path) -> None:
    calls = []

    def make() -> int:
        calls.append(1)
        return 7

    kept = Kept(tmp_path / "kept.json", ("model", 3))
    assert kept.once("a", make) == 7
    assert Kept(tmp_path / "kept.json", ("model", 3)).once("a", make) == 7
    assert len(calls) == 1
    assert "a" not in Kept(tmp_path / "kept.json", ("model", 4))
    (tmp_path / "kept.json").write_text('{"of":')
    assert "a" not in Kept(tmp_path / "kept.json", ("model", 3))


def test_speeds_are_of_whole_prompts(tmp_path: Path) -> None:
    bundle = open_bundle(write_model(tmp_path / "tiny.gguf", "dense"))
    engine = llamacpp.open(bundle, llamacpp.Config(context=256, sequences=1, batch=16))
    for num in (16, 37):  # whole steps, and a part of one
        prompt, decode = prompt_and_decode(engine, [7] * num, 5)
        assert prompt > 0
        assert decode > 0
    engine.decode([(0, 0, 1, True)])  # it was left empty


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

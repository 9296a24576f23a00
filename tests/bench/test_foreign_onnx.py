"""The bench of other tools' ONNX folders, on tiny ones, against a runner that is a script here."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from edgereason.bench.rivals import onnx_runner
from edgereason.bench.suites import foreign_onnx
from edgereason.errors import EngineError, UsageError
from support.places import ROOT

FOLDER = ROOT / "tests" / "foreign" / "llama-optimum-plain"
RUNNER = """
import json, sys
tokens = json.load(sys.stdin)
assert sys.argv[1] == "optimum" and int(sys.argv[3]) == 1
print("a line of its own")
print(json.dumps({"prompt_tokens_per_s": 1.0, "decode_tokens_per_s": 2.0,
                  "cpu_tokens_per_s": 4.0, "cpu_prompt_tokens_per_s": 8.0,
                  "tokens": NEW[: int(sys.argv[4])]}))
"""


def options(**more: object) -> argparse.Namespace:
    given = {"folders": [FOLDER], "optimum_python": sys.executable, "genai_python": sys.executable}
    given |= {"threads": 1, "turns": 2, "decode": 6, "prompt": 6, "context": 128}
    return argparse.Namespace(**(given | more))


def test_what_agrees_is_counted_up_to_an_end_that_the_other_let_pass() -> None:
    assert foreign_onnx.same_tokens([5, 6, 7], [5, 6, 7], [2]) == (3, 3)
    assert foreign_onnx.same_tokens([5, 9, 7], [5, 6, 7], [2]) == (1, 3)
    assert foreign_onnx.same_tokens([5, 9, 7], [5, 2, 7], [2]) == (1, 1)


def test_turns_tokens_and_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("gguf")
    script = tmp_path / "runner.py"
    monkeypatch.setattr(onnx_runner, "__file__", str(script))
    script.write_text("import sys; sys.exit('it broke')")
    with pytest.raises(EngineError, match=r"optimum failed: .*it broke"):
        foreign_onnx.measure(options(), lambda line: None)
    script.write_text(RUNNER.replace("NEW", "list(range(300, 400))"))
    found = foreign_onnx.measure(options(), lambda line: None)
    (row,) = found.figures["rows"]
    assert row["same"] == "0 of 6"
    runs = found.figures["runs"]["llama-optimum-plain"]
    ours = runs["edgereason"][0]
    assert row["decode: ours to it"] == pytest.approx(
        (ours["decode_tokens_per_s"] + runs["edgereason"][1]["decode_tokens_per_s"]) / 4
    )
    assert row["of CPU time"] == pytest.approx(
        sum(run["cpu_tokens_per_s"] for run in runs["edgereason"]) / 8
    )
    script.write_text(RUNNER.replace("NEW", json.dumps(ours["tokens"])))
    (row,) = foreign_onnx.measure(options(), lambda line: None).figures["rows"]
    assert row["same"] == "6 of 6"


def test_genai_is_told_threads_without_touching_its_folder(tmp_path: Path) -> None:
    folder = ROOT / "tests" / "foreign" / "llama-builder-int4"
    onnx_runner.given_threads(folder, tmp_path, 3)
    config = json.loads((tmp_path / "genai_config.json").read_text())
    told = config["model"]["decoder"]["session_options"]
    assert (told["intra_op_num_threads"], told["session.intra_op.allow_spinning"]) == (3, "0")
    assert (tmp_path / "model.onnx").samefile(folder / "model.onnx")
    assert "intra_op_num_threads" not in (folder / "genai_config.json").read_text()


def test_what_it_needs_is_said() -> None:
    with pytest.raises(UsageError, match="which folders"):
        foreign_onnx.measure(options(folders=()), lambda line: None)
    with pytest.raises(UsageError, match="needs the environment of optimum"):
        foreign_onnx.measure(options(optimum_python=None), lambda line: None)

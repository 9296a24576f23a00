"""`export --via optimum`: a child that may be missing, fail, or write what is no decoder.

The real one runs where `EDGEREASON_OPTIMUM` names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli_runner import Cli

REAL = os.environ.get("EDGEREASON_OPTIMUM", "")
FOREIGN = Path(__file__).parents[1] / "foreign"

Fake = Callable[[str], Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    config = {"model_type": "olmo", "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # no tensor
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes optimum do what `body`, a line of shell, says; $4 is the model, $7 where to write."""

    def becomes(body: str) -> Path:
        script, log = tmp_path / "optimum-cli", tmp_path / "log"
        # export onnx --model MODEL --task TASK OUT
        script.write_text(f'#!/bin/sh\necho "$@" > {log}\ncp "$4/config.json" {log}.json\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("EDGEREASON_OPTIMUM", str(script))
        return log

    return becomes


WRITES = f'cp {FOREIGN}/llama-optimum-plain/* "$7"'


def test_it_is_run_and_its_folder_gets_its_name(
    cli: Cli, fake: Fake, model: Path, tmp_path: Path
) -> None:
    log = fake(WRITES)
    out = tmp_path / "out"
    ran = cli("export", str(model), "--to", "onnx", "--via", "optimum", "--out", str(out), "--json")
    assert ran.json["path"] == str(out)
    assert (out / "model.onnx").is_file()
    assert log.read_text().startswith("export onnx --model ")
    assert "--task text-generation-with-past" in log.read_text()
    told = json.loads(Path(f"{log}.json").read_text())
    assert told["rope_theta"] == 5e5  # for a transformers that knows no rope_parameters
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    assert "rope_theta" not in json.loads((model / "config.json").read_text())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'ValueError: no olmo'; exit 1", "optimum failed: ValueError: no olmo"),
        ("exit 1", "optimum failed: it gave no reason"),
        ("true", "optimum has written no decoder"),
    ],
)
def test_what_can_go_wrong(cli: Cli, fake: Fake, model: Path, body: str, message: str) -> None:
    fake(body)
    out = model.with_name("out")
    ran = cli("export", str(model), "--to", "onnx", "--via", "optimum", "--out", str(out))
    assert ran.code == 5
    assert message in ran.err
    assert not out.exists()
    assert not model.with_name(".out.part").exists()


def test_where_it_is_not_installed(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["export", str(model), "--to", "onnx", "--via", "optimum", "--out", str(tmp_path / "out")]
    monkeypatch.delenv("EDGEREASON_OPTIMUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = cli(*ask)
    assert ran.code == 2
    assert "optimum is not installed: no optimum-cli on the path" in ran.err
    assert "pip install 'optimum-onnx[onnxruntime]'" in ran.err
    monkeypatch.setenv("EDGEREASON_OPTIMUM", "/nowhere/optimum-cli")
    assert "EDGEREASON_OPTIMUM is '/nowhere/optimum-cli'" in cli(*ask).err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--quant", "int4"], "--quant is not for --via optimum"),
        (["--dry-run"], "--dry-run is not for --via optimum"),
        (["--to", "gguf"], "optimum writes onnx, got --to gguf"),
        (["--via", "optimun"], "did you mean 'optimum'"),
        (["--out", "tests"], "tests is not empty"),
    ],
)
def test_what_it_is_not_for(
    cli: Cli, fake: Fake, model: Path, more: list[str], message: str
) -> None:
    fake(WRITES)
    out = str(model.with_name("out"))
    ran = cli("export", str(model), "--to", "onnx", "--via", "optimum", "--out", out, *more)
    assert ran.code == 2
    assert message in ran.err


def test_positions_that_cannot_be_told_the_old_way(
    cli: Cli, fake: Fake, model: Path, tmp_path: Path
) -> None:
    fake(WRITES)
    rope = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    (model / "config.json").write_text(json.dumps({"rope_parameters": rope}))
    ran = cli("export", str(model), "--to", "onnx", "--via", "optimum", "--out", "x")
    assert "tells positions layer by layer" in ran.err


def test_an_architecture_of_none_of_ours_is_pointed_to_it(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    ran = cli("export", str(model), "--to", "onnx", "--out", str(tmp_path / "out"))
    assert ran.code == 2
    assert "--to onnx --via optimum" in ran.err


@pytest.mark.skipif(not REAL, reason="EDGEREASON_OPTIMUM names no optimum-cli")
def test_the_real_one(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved by transformers 5 with a theta of its own: the tokens are those of the model."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from edgereason import Reasoner
    from support import hf_models

    monkeypatch.setenv("EDGEREASON_OPTIMUM", REAL)
    folder = hf_models.save_model(tmp_path / "tiny", "llama")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500.0
    (folder / "config.json").write_text(json.dumps(config))
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    ask = ["export", str(folder), "--to", "onnx"]
    assert cli(*ask, "--via", "optimum", "--out", str(theirs)).code == 0
    assert cli(*ask, "--quant", "f32", "--out", str(ours)).code == 0
    answers = []
    for each in (theirs, ours):
        with Reasoner.open(each, threads=1) as reasoner:
            told = {"strategy": "no-think", "answer_budget": 24}
            answers.append(reasoner.ask("Three times seventeen", **told).answer)
    assert answers[0] == answers[1]

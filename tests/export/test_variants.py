"""What makes a model a variant goes with every export of it: the section, and its prefixes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the extra `export`")
pytest.importorskip("onnx", reason="the extra `export`")

from edgereason.errors import BundleError
from edgereason.export import job
from edgereason.export.job import Job, plan
from edgereason.export.job import export as export_model
from edgereason.export.sources.open import open_source
from edgereason.models import hub
from edgereason.models.bundle import Bundle, open_bundle, verify
from edgereason.models.prefix_file import base_hash, bundled, read_prefix, write_prefix
from edgereason.models.variants.coconut import Variant
from edgereason.prompt.chat import thinking_prompt
from edgereason.records import messages_of
from support.cli_runner import Cli

TARGETS: dict[str, dict[str, Any]] = {
    "gguf": {"quant": "f16"},
    "onnx": {"quant": "f32"},
    "tensorrt": {"graph_only": True},
}
PREFIXES = [f"prefixes/operator-{num}.safetensors" for num in (128, 32, 8)]


def export(model: str | Path, target: str, out: Path) -> Bundle:
    return export_model(model, Job(target, out, TARGETS[target])).bundle


@pytest.mark.parametrize("target", TARGETS)
def test_a_variant_keeps_all_that_its_strategy_needs(target: str, tmp_path: Path) -> None:
    made = export("nano-infty", target, tmp_path / "out")
    source = open_bundle(hub.resolve("nano-infty"))
    kept = ("variant", "chat_template", "sampling", "base_hash", "context", "licence")
    assert source.variant is not None
    assert {name: getattr(made, name) for name in kept} == {
        name: getattr(source, name) for name in kept
    }
    # How it thinks is found anew, from its template: the prompts and the marks are the same.
    question = messages_of("What is 3 + 4?")
    for thinking in (True, False, None):
        assert thinking_prompt(made, question, thinking) == thinking_prompt(
            source, question, thinking
        )
    marks = ("kind", "opens", "shuts", "close", "probe", "enter")
    for name in marks:
        assert getattr(made.reasoning, name) == getattr(source.reasoning, name)


@pytest.mark.parametrize("target", TARGETS)
def test_prefixes_go_with_their_model(target: str, tmp_path: Path) -> None:
    made = export("nano", target, tmp_path / "out")
    source = hub.resolve("nano")
    assert [file.path for file in made.files if "prefixes" in file.path] == PREFIXES
    verify(made)
    for name in PREFIXES:
        assert (made.path / name).read_bytes() == (source / name).read_bytes()
    assert base_hash(made) == read_prefix(made.path / PREFIXES[0]).base
    if target == "gguf":  # and from one bundle to the next
        again = export(made.path, "onnx", tmp_path / "again")
        assert list(bundled(again.path)) == list(bundled(source))


def test_a_run_that_was_cut_has_the_prefixes_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr(job, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export("nano", "gguf", out)
    assert not out.exists()
    with open_source("nano") as source:
        source.prefixes = source.prefixes[:1]
        result = export_model(source, Job("gguf", out, TARGETS["gguf"]))
    assert result.resumed == ("model.gguf",)
    assert [path.name for path in (out / "prefixes").iterdir()] == ["operator-128.safetensors"]


def test_prefixes_that_no_engine_would_load_are_refused_before_any_work(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(hub.resolve("nano"), model)
    files = bundled(model)
    prefix = read_prefix(files["operator-8"])

    def refused(words: str) -> None:
        with open_source(model) as source, pytest.raises(BundleError, match=words):
            plan(Job("onnx", tmp_path / "out"), source)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    write_prefix(replace(prefix, base="0" * 64), files["operator-8"])
    refused("prefix operator-8 was trained for weights 000000000000, nano has 99d802039387")
    files["operator-8"].write_bytes(b"{}")
    refused("operator-8.safetensors")


@pytest.mark.parametrize("to", ["gguf", "onnx"])
def test_a_folders_variant_goes_with_it(cli: Cli, tmp_path: Path, to: str) -> None:
    for package in ("torch", "transformers", "gguf", *(["onnx"] if to == "onnx" else ())):
        pytest.importorskip(package, reason="makes or writes the model")
    from support import hf_models

    folder = hf_models.save_model(tmp_path / "tiny", "llama")
    config = json.loads((folder / "config.json").read_text())
    config["edgereason"] = {"variant": {"kind": "coconut", "latents": 3}}
    (folder / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    ran = cli("export", str(folder), "--to", to, "--out", str(out), "--quant", "f32")
    assert ran.code == 0
    assert open_bundle(out).variant == Variant(latents=3)
    if to == "gguf":
        assert open_bundle(out / "model.gguf").variant == Variant(latents=3)
        again = cli("export", str(out), "--out", str(tmp_path / "q"), "--quant", "q8_0")
        assert again.code == 0
        assert open_bundle(tmp_path / "q").variant == Variant(latents=3)
    config["edgereason"]["variant"]["latents"] = "lots"
    (folder / "config.json").write_text(json.dumps(config))
    refused = cli("export", str(folder), "--out", str(tmp_path / "no"))
    assert refused.code == 3
    assert "config.json: variant.latents must be a whole number" in refused.err

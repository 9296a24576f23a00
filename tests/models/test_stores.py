"""Models of other programs: listed, opened in place, never touched."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError
from edgereason.models import hub
from edgereason.models.bundle import open_bundle
from edgereason.models.stores import find_all, locate, ollama
from support import model_stores
from support.cli_runner import Cli
from support.gguf_files import write_gguf
from support.places import ROOT
from support.tiny_models import write_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any model, whatever this machine has."""
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ollama, "_SERVICE", tmp_path / "service")
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "ours"))
    return tmp_path


@pytest.fixture
def full(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has all of them, where they are by default."""
    model_stores.ollama(home / ".ollama" / "models")
    model_stores.hugging_face(home / ".cache" / "huggingface" / "hub")
    model_stores.lm_studio(home)
    model_stores.llama_cpp(home / ".cache" / "llama.cpp")
    mine = home / "mine"
    (mine / "deep").mkdir(parents=True)
    write_gguf(mine / "deep" / "own.gguf")
    model_stores.split(mine)
    monkeypatch.setenv("EDGEREASON_MODELS", str(mine) + os.pathsep + str(home / "gone"))
    return home


ALL = {
    "folder:big-Q4_0-00001-of-00003.gguf",
    "folder:deep/own.gguf",
    "hf:owner/plain",
    "hf:owner/repo/repo-Q4_K_M.gguf",
    "hf:owner/repo/repo-Q8_0.gguf",
    "llamacpp:owner_repo_tiny-q4_0.gguf",
    "lmstudio:someone/Tiny-GGUF/Tiny-Q4_K_M.gguf",
    "ollama:hf.co/owner/repo:Q4_K_M",
    "ollama:huge:cloud",
    "ollama:qwen3:0.6b",
    "ollama:qwen3:latest",
    "ollama:someone/tiny:1b",
}


def test_nothing_is_found_where_nothing_is() -> None:
    assert list(find_all()) == []


def test_all_is_found_and_opened_and_nothing_is_touched(full: Path, cli: Cli) -> None:
    before = model_stores.snapshot(full)
    assert {found.name for found in find_all()} == ALL
    for found in find_all():
        if not found.why_not:
            bundle = open_bundle(hub.resolve(found.name))
            assert bundle.engine == "llamacpp"
            assert sum(file.size_bytes for file in bundle.files) == found.size_bytes > 0
    cli("list", "--all")
    assert model_stores.snapshot(full) == before


def test_list_all(full: Path, cli: Cli) -> None:
    models = {model["name"]: model for model in cli("list", "--all", "--json").json["models"]}
    assert models.keys() > ALL | {"nano"}
    assert models["ollama:qwen3:0.6b"]["licence"] == "mit"
    assert models["ollama:huge:cloud"]["error"] == (
        "it has no weights here; it may run in Ollama's cloud"
    )
    shown = cli("list", "--all").out
    assert "ollama:qwen3:0.6b" in shown
    assert "unusable" in shown
    assert "ollama:" not in cli("list").out


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ollama:qwen3", "blobs/sha256-"),
        ("ollama:library/qwen3:0.6b", "blobs/sha256-"),
        ("ollama:registry.example/library/qwen3:0.6b", "blobs/sha256-"),
        ("ollama:hf.co/owner/repo:Q4_K_M", "blobs/sha256-"),
        ("hf:owner/repo:q8_0", "repo-Q8_0.gguf"),
        ("owner/repo", "repo-Q4_K_M.gguf"),
        ("hf:owner/repo/repo-Q8_0.gguf", "repo-Q8_0.gguf"),
        ("folder:deep/own.gguf", "own.gguf"),
    ],
)
def test_names(full: Path, name: str, file: str) -> None:
    assert file in str(hub.resolve(name))


def test_a_blob_is_called_what_its_header_says(full: Path) -> None:
    assert open_bundle(hub.resolve("ollama:qwen3:0.6b")).name == "Tiny"


def test_what_was_pulled_comes_first(full: Path) -> None:
    pulled = full / "ours" / "models" / "hf%3Aowner%2Frepo%3AQ8_0"
    pulled.mkdir(parents=True)
    (pulled / "edgereason.json").write_text("{}")
    assert hub.resolve("owner/repo:Q8_0") == pulled


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("ollama:qwen4", "there is no ollama:qwen4", "there are: ollama:hf.co/owner/repo:Q4_K_M"),
        ("folder:none.gguf", "there is no folder:none.gguf", "folder:deep/own.gguf"),
        ("hf:owner/repo:Q2_K", "hf:owner/repo:Q2_K is not on this machine", "edgereason pull"),
    ],
)
def test_names_that_are_not_there(full: Path, name: str, message: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError) as raised:
        hub.resolve(name)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_an_empty_store_says_where_it_looked(home: Path) -> None:
    with pytest.raises(ModelNotFoundError) as raised:
        hub.resolve("ollama:qwen3")
    assert str(home / ".ollama" / "models") in raised.value.hint
    with pytest.raises(ModelNotFoundError) as raised:
        hub.resolve("folder:x.gguf")
    assert "EDGEREASON_MODELS is not set" in raised.value.hint


def test_what_cannot_be_opened_says_why(full: Path) -> None:
    with pytest.raises(UnsupportedError, match="edgereason export hf:owner/plain --to gguf"):
        locate("hf:owner/plain")
    with pytest.raises(UnsupportedError, match="may run in Ollama's cloud"):
        locate("ollama:huge:cloud")


def test_variables_of_the_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(model_stores.ollama(home / "o")))
    monkeypatch.setenv("HF_HOME", str(home / "h"))
    model_stores.hugging_face(home / "h" / "hub")
    monkeypatch.setenv("LLAMA_CACHE", str(model_stores.llama_cpp(home / "l")))
    model_stores.lm_studio(home)
    os.rename(home / ".lmstudio", home / "moved")
    (home / ".lmstudio-home-pointer").write_text(str(home / "moved"))
    assert {found.name for found in find_all()} == {n for n in ALL if not n.startswith("folder")}
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "nowhere"))
    assert not any(found.name.startswith("hf:") for found in find_all())


class TestOllama:
    @pytest.mark.parametrize("written", ["", "{", "[]", '{"layers": 3}', '{"layers": [{}]}'])
    def test_a_damaged_manifest(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, written: str
    ) -> None:
        place = model_stores.ollama(home / "o")
        monkeypatch.setenv("OLLAMA_MODELS", str(place))
        (place / "manifests/registry.example/library/qwen3/0.6b").write_text(written)
        why = {found.name: found.why_not for found in find_all()}
        assert "its manifest cannot be read" in why["ollama:qwen3:0.6b"]
        assert why["ollama:qwen3:latest"] == ""

    def test_layers_that_are_no_gguf(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = home / "o"
        monkeypatch.setenv("OLLAMA_MODELS", str(place))
        kind = "application/vnd.ollama.image."
        blob = model_stores.ollama_blob(place, model_stores.MODEL)
        for name, layers in {
            "gone": [(f"{kind}model", "sha256:" + "0" * 64)],
            "outside": [(f"{kind}model", "sha256:../../x")],
            "tensors": [(f"{kind}tensor", "sha256:" + "0" * 64)],
            "adapted": [(f"{kind}model", blob), (f"{kind}adapter", blob)],
        }.items():
            model_stores.ollama_manifest(place, f"registry.example/library/{name}/latest", layers)
        why = {found.name.split(":")[1]: found.why_not for found in find_all()}
        assert "weights are missing" in why["gone"]
        assert "sha256:../../x" in why["outside"]
        assert why["tensors"] == "its weights are not a GGUF"
        assert "--lora" in why["adapted"]


class TestHuggingFace:
    def test_onnx_beside_its_tokenizer(self, home: Path) -> None:
        config = json.dumps({"model_type": "llama", "vocab_size": 8}).encode()
        files = {"config.json": config, "tokenizer.json": b"{}"}
        files |= {f"onnx/{name}.onnx": b"graph" for name in ("model", "model_q4", "encoder_model")}
        hub_folder = home / ".cache" / "huggingface" / "hub"
        at = model_stores.hugging_face_repo(hub_folder, "onnx-community/tiny", files)
        found = {each.name: each.path for each in find_all()}
        repo = "hf:onnx-community/tiny"
        assert found.keys() == {f"{repo}/onnx/model.onnx", f"{repo}/onnx/model_q4.onnx"}
        assert hub.resolve(f"{repo}/onnx/model_q4.onnx") == at / "onnx" / "model_q4.onnx"

    def test_a_commit_without_a_name_and_a_link_to_nothing(self, home: Path) -> None:
        hub_folder = home / ".cache" / "huggingface" / "hub"
        at = model_stores.hugging_face_repo(hub_folder, "owner/repo", {"a-F16.gguf": b"x"})
        (at.parents[1] / "refs" / "main").unlink()
        (at / "b-F16.gguf").symlink_to(home / "nowhere")
        assert [found.name for found in find_all()] == ["hf:owner/repo/a-F16.gguf"]


class TestSplit:
    def test_all_parts_count(self, tmp_path: Path) -> None:
        parts = model_stores.split(tmp_path)
        bundle = open_bundle(parts[0])
        assert [file.path for file in bundle.files] == [part.name for part in parts]
        assert bundle.name == "big-Q4_0"
        assert bundle.num_parameters == 3 * 16 * 8

    def test_a_part_that_is_missing_or_not_the_first(self, tmp_path: Path) -> None:
        parts = model_stores.split(tmp_path)
        with pytest.raises(BundleError, match=r"not the first part .*give big-Q4_0-00001"):
            open_bundle(parts[1])
        parts[2].unlink()
        with pytest.raises(BundleError, match=r"missing: big-Q4_0-00003-of-00003\.gguf"):
            open_bundle(parts[0])

    def test_a_name_that_hides_the_others(self, tmp_path: Path) -> None:
        first = model_stores.split(tmp_path)[0].rename(tmp_path / "model.gguf")
        with pytest.raises(BundleError, match="is one of 3 parts, its name says 1"):
            open_bundle(first)


class TestThePage:
    """What `docs/models.md` shows is run, on models that run."""

    PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")

    @pytest.fixture(autouse=True)
    def real(self, home: Path) -> None:
        model = write_model(home / "tiny.gguf", "dense").read_bytes()
        model_stores.ollama(home / ".ollama" / "models", model)
        model_stores.lm_studio(home, model)

    @pytest.mark.parametrize("line", re.findall(r"^\$ edgereason (.*)$", PAGE, re.MULTILINE))
    def test_commands(self, cli: Cli, line: str) -> None:
        ran = cli(*shlex.split(line))
        assert ran.code == 0, ran.err
        assert ran.out

    def test_the_program(self) -> None:
        (program,) = re.findall(r"```python\n(.*?)```", self.PAGE, re.DOTALL)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("lmstudio:someone/Tiny-GGUF/Tiny-Q4_K_M.gguf ")

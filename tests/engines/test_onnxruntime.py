"""The engine onnxruntime beyond the contract suite: what it refuses, and the runtime above."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import Reasoner, engines, strategies
from edgereason.engines.graph.exported import GraphInfo
from edgereason.engines.graph.ort_executors import DeviceMemory, HostMemory
from edgereason.errors import (
    BundleError,
    EdgereasonError,
    MemoryLimitError,
    UnsupportedError,
    UsageError,
)
from edgereason.models.bundle import open_bundle, write_bundle
from edgereason.registry import load, names
from support.cli_runner import Cli
from support.engine_cases import export_onnx, feed
from support.tiny_models import EMBD, HEAD, KV_HEADS, LAYERS, NUM_VOCAB, write_model

onnx = pytest.importorskip("onnx", reason="graphs are changed with it")
engine_module = load(engines, "onnxruntime")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    return export_onnx(write_model(folder / "tiny.gguf", "dense"), folder / "bundle", "f32")


@pytest.fixture(scope="module")
def reasoner(original: Path) -> Iterator[Reasoner]:
    with Reasoner.open(str(original), threads=1) as opened:
        yield opened


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def opened(folder: Path, **options: Any) -> Any:
    return engine_module.open(open_bundle(folder), engine_module.Config(**options))


def refusal(folder: Path, **options: Any) -> EdgereasonError:
    with pytest.raises(EdgereasonError) as caught:
        opened(folder, **{"threads": 1, **options})
    return caught.value


def rewrite(folder: Path, change: Any) -> None:
    """Changes the graph, and the manifest with it."""
    path = folder / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    _promise(folder)


def _promise(folder: Path) -> None:
    """Writes a manifest that fits the files as they are now."""
    manifest = json.loads((folder / "edgereason.json").read_text())
    for file in manifest["files"]:
        file["size_bytes"] = (folder / file["path"]).stat().st_size
    (folder / "edgereason.json").write_text(json.dumps(manifest))
    write_bundle(open_bundle(folder), folder)


class TestDamaged:
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("edgereason.format", "2", "its edgereason.format is '2'"),
            ("edgereason.kind", "C", "its kind is 'C'"),
            ("edgereason.context", "many", "its context 'many'"),
            ("edgereason.format", None, "its edgereason.format is None"),
        ],
    )
    def test_metadata_of_others(
        self, bundle: Path, key: str, value: str | None, message: str
    ) -> None:
        def change(model: Any) -> None:
            props = {prop.key: prop.value for prop in model.metadata_props} | {key: value}
            left = {name: text for name, text in props.items() if text is not None}
            onnx.helper.set_model_props(model, left)

        rewrite(bundle, change)
        error = refusal(bundle)
        assert isinstance(error, BundleError)
        assert message in error.message
        assert "edgereason export" in error.hint

    @pytest.mark.parametrize("name", ["output_rows", "past_key_values.1.value", "hidden_states"])
    def test_an_input_or_output_under_another_name(self, bundle: Path, name: str) -> None:
        def change(model: Any) -> None:
            for port in (*model.graph.input, *model.graph.output):
                port.name = "other" if port.name == name else port.name
            for node in model.graph.node:
                node.input[:] = ["other" if each == name else each for each in node.input]
                node.output[:] = ["other" if each == name else each for each in node.output]

        rewrite(bundle, change)
        error = refusal(bundle)
        assert isinstance(error, BundleError)
        assert name in error.message

    @pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
    @pytest.mark.parametrize("keep", [0, 0.5])
    def test_cut_short(self, bundle: Path, name: str, keep: float) -> None:
        raw = (bundle / name).read_bytes()
        (bundle / name).write_bytes(raw[: int(len(raw) * keep)])
        with pytest.raises(BundleError, match="bytes, the bundle promises"):
            opened(bundle)
        _promise(bundle)
        error = refusal(bundle)
        assert isinstance(error, BundleError)
        assert "onnxruntime cannot open" in error.message
        assert "\n" not in error.message

    def test_weights_that_are_missing(self, bundle: Path) -> None:
        (bundle / "model.onnx.data").unlink()
        with pytest.raises(BundleError, match=r"model\.onnx\.data is missing"):
            opened(bundle)

    def test_no_vocabulary(self, bundle: Path) -> None:
        whole = open_bundle(bundle)
        files = tuple(file for file in whole.files if file.path != "vocab.gguf")
        write_bundle(replace(whole, files=files), bundle)
        assert "has no vocab.gguf" in refusal(bundle).message

    def test_a_vocabulary_of_another_model(self, bundle: Path) -> None:
        from support.gguf_files import write_gguf

        write_gguf(bundle / "vocab.gguf")
        _promise(bundle)
        error = refusal(bundle)
        assert isinstance(error, BundleError)
        assert "vocab" in error.message


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"context": -1}, "context must be 0 or more, got -1"),
            ({"context": 513}, "context must be at most 512, which the graph was made for"),
            ({"sequences": 0}, "sequences must be in [1, 64], got 0"),
            ({"batch": 0}, "batch must be in [1, 65536], got 0"),
            ({"threads": -1}, "threads must be in [0, 1024], got -1"),
        ],
    )
    def test_values_that_cannot_be(
        self, original: Path, options: dict[str, int], message: str
    ) -> None:
        error = refusal(original, **options)
        assert type(error) is UsageError
        assert message in error.message

    def test_what_would_fit_is_told_and_fits(self, original: Path) -> None:
        cell = 2 * LAYERS * KV_HEADS * HEAD * 4
        files = sum(file.size_bytes for file in open_bundle(original).files) + 64 * 2**20
        room = files + 64 * 512 * cell * 3 // 4
        error = refusal(original, sequences=64, memory_gib=room / 2**30)
        assert isinstance(error, MemoryLimitError)
        assert "64 sequences of 512 tokens" in error.message
        assert error.hint == "try --context 256 or 47 sequences instead of 64"
        opened(original, sequences=64, context=256, memory_gib=room / 2**30)
        opened(original, sequences=47, memory_gib=room / 2**30)

    def test_weights_that_do_not_fit_are_not_read(self, original: Path) -> None:
        error = refusal(original, memory_gib=0.01)
        assert isinstance(error, MemoryLimitError)
        assert "the weights take 0.06 GiB, 0.01 GiB is free" in error.message

    def test_the_provider_in_use_is_told(self, original: Path) -> None:
        import onnxruntime

        engine = opened(original, threads=1)
        assert engine.meta("provider") in onnxruntime.get_available_providers()
        assert opened(original, provider="cpu").meta("provider") == "CPUExecutionProvider"

    def test_a_provider_that_is_not_there(self, original: Path) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime is built for CUDA")
        error = refusal(original, provider="cuda")
        assert isinstance(error, UnsupportedError)
        assert "onnxruntime-gpu" in error.hint

    def test_without_the_library(self, original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        error = refusal(original)
        assert isinstance(error, UnsupportedError)
        assert "edgereason[onnx]" in error.hint


class TestRuns:
    def test_a_full_sequence_stays_whole_beside_others(self, original: Path) -> None:
        engine = opened(original, threads=1, context=64, sequences=3)
        tokens = engine.tokenize("he said that the sea was calm and")[:20]
        feed(engine, 0, tokens)
        assert engine.fork(0, 1, 20)
        assert engine.fork(0, 2, 20)
        wanted = feed(engine, 0, [5, 6], start=20)
        engine.decode([(1, 20, 5, False), (2, 20, 5, False)])
        engine.decode([(1, 21, 6, True), (2, 21, 6, True)])
        for row in range(2):
            np.testing.assert_allclose(engine.logits(row), wanted, atol=1e-4)

    def test_a_failed_run_says_what_failed(self, original: Path) -> None:
        class Broken:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError("out of memory on the device")

        engine = opened(original, threads=1)
        engine.model._executor._session = Broken()
        with pytest.raises(EdgereasonError, match="out of memory on the device"):
            engine.decode([(0, 0, 1, True)])


def test_device_memory_moves_as_the_hosts_does() -> None:
    """By onnxruntime's CPU: the part of a GPU pool that can be run without one."""
    info = GraphInfo("ort", 16, 2, 3, 4, NUM_VOCAB, EMBD, np.dtype(np.float16))
    rng = np.random.default_rng(1)
    shape = (4, 3, 16, 4)
    host, device = HostMemory(info, shape), DeviceMemory(info, shape, "cpu")
    data = rng.standard_normal(2 * 2 * 3 * 5 * 4).astype(np.float16).tobytes()
    for memory in (host, device):
        memory.write(2, 5, data)
        memory.copy(2, 0, 5)
        assert memory.read(0, 5) == data
        memory.write(2, 1, data[: len(data) // 5])
        assert memory.read(0, 5) == data
    assert device.read(0, 3) == host.read(0, 3)
    assert len(device.addresses) == len(host.addresses) == 4


class TestRuntime:
    @pytest.mark.parametrize("strategy", names(strategies))
    def test_every_strategy_answers(self, reasoner: Reasoner, strategy: str) -> None:
        if strategy == "program":
            pytest.skip("its examples are longer than the context of this model")
        if strategy in ("soft", "swi"):
            with pytest.raises(UnsupportedError, match="needs token_rows"):
                reasoner.ask("he?", strategy=strategy)
            return
        told = {"latents": 2, "start": "he", "end": "he", "mark": ""}
        options = told if strategy == "coconut" else {}  # of which this model says nothing itself
        answer = reasoner.ask(
            "he?", strategy=strategy, options=options, think_budget=12, answer_budget=8
        )
        assert answer.answer
        assert {phase.role for phase in answer.phases} >= {"answer"}
        assert all(phase.tokens <= 12 for phase in answer.phases)

    def test_many_at_once_say_what_each_says_alone(self, reasoner: Reasoner) -> None:
        prompts = [f"he {'he ' * n}{n}?" for n in range(6)]
        options: dict[str, Any] = {"strategy": "no-think", "answer_budget": 24}
        alone = [reasoner.ask(prompt, **options).answer for prompt in prompts]
        handles = [reasoner.submit(prompt, **options) for prompt in prompts]
        assert [handle.result().answer for handle in handles] == alone

    def test_threads_of_the_runtime_are_the_engines(
        self, original: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        real = engine_module.open_session

        def open_session(path: Path, config: Any) -> Any:
            seen.append(config.threads)
            return real(path, config)

        monkeypatch.setattr(engine_module, "open_session", open_session)
        Reasoner.open(str(original), threads=1).close()
        assert seen == [1]


def test_the_command_line(cli: Cli, original: Path) -> None:
    ran = cli(
        "run",
        "he?",
        "--model",
        str(original),
        "--context",
        "200",
        "--threads",
        "1",
        "--answer-budget",
        "4",
        "--json",
    )
    assert ran.code == 0
    assert ran.json["model"] == "tiny"
    for option, value in (("kv", "q8_0"), ("gpu_layers", "0")):
        flag = f"--{option.replace('_', '-')}"
        ran = cli("run", "he?", "--model", str(original), flag, value)
        assert ran.code == 2
        assert f"unknown option of engine onnxruntime '{option}'" in ran.err
        assert (
            "known: batch, context, large_pages, memory_gib, provider, sequences, spin, threads"
            in ran.err
        )
    ran = cli("show", str(original))
    assert ran.code == 0
    assert "onnxruntime" in ran.out


def test_a_damaged_graph_prints_nothing(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """onnxruntime tells its "EP Error" on stdout, where `--json` has its object."""
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"past_lengths", b"past_l\xff\xfeths"))
    _promise(bundle)
    assert "cannot open" in refusal(bundle).message
    assert capfd.readouterr() == ("", "")

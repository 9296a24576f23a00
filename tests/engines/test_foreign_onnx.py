"""ONNX folders of optimum and of onnxruntime-genai's builder, as they were written.

`tests/foreign` holds tiny ones, made by `tests/support/make_foreign_onnx.py`, with what
transformers says of each, or of 4 bits onnxruntime-genai: tokens, greedy behind the prompt, and the
logits behind every token.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import Reasoner, engines
from edgereason.engines.graph import foreign, foreign_in_place
from edgereason.engines.graph.kv import Run
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.records import Capability
from edgereason.registry import load
from support.cli_runner import Cli
from support.engine_cases import feed
from support.model_stores import hugging_face_repo, snapshot

pytest.importorskip("onnxruntime", reason="it runs them")
pytest.importorskip("gguf", reason="it writes vocabularies")
from onnxruntime import InferenceSession

engine_module = load(engines, "onnxruntime")

FOREIGN = Path(__file__).parents[1] / "foreign"
OTHER_DEVICE = "qwen3-builder-fp16"  # a graph for CUDA
FOLDERS = sorted(
    path.name for path in FOREIGN.iterdir() if path.is_dir() and path.name != OTHER_DEVICE
)
FAR = {"fp16": 0.05, "int4": 1e-3}
"""How far logits may lie apart, which spread over ten; else 1e-4."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(path: Path, **options: Any) -> Any:
    config = engine_module.Config(**{"threads": 1, "sequences": 3, **options})
    return engine_module.open(open_bundle(path), config)


def truth(name: str) -> tuple[list[int], np.ndarray]:
    kind, _, form = name.split("-")
    with np.load(FOREIGN / f"{kind}{'-int4' * (form == 'int4')}.npz") as file:
        return file["tokens"].tolist(), file["logits"]


@pytest.mark.parametrize("name", FOLDERS)
class TestAgainstTransformers:
    @pytest.mark.parametrize("chunk", [1, 3, 64])
    def test_logits(self, name: str, chunk: int) -> None:
        engine = opened(FOREIGN / name)
        tokens, logits = truth(name)
        far = FAR.get(name.rpartition("-")[2], 1e-4)
        for start in range(0, len(logits), chunk):
            end = min(start + chunk, len(logits))
            engine.decode([(0, at, tokens[at], at >= end - 2) for at in range(start, end)])
            for at in range(max(start, end - 2), end):
                assert np.abs(engine.logits(at - start) - logits[at]).max() < far

    def test_tokens(self, name: str) -> None:
        """Greedy, three sequences side by side."""
        tokens, _ = truth(name)
        engine = opened(FOREIGN / name)
        spoken: list[list[int]] = [[], [], []]
        logits = feed(engine, 0, tokens[:10])
        assert engine.fork(0, 1, 10)
        assert engine.fork(0, 2, 10)
        last = [int(np.argmax(logits))] * 3
        for at in range(10, len(tokens)):
            for each, token in zip(spoken, last, strict=True):
                each.append(token)
            engine.decode([(seq, at, last[seq], True) for seq in range(3)])
            last = [int(np.argmax(engine.logits(row))) for row in range(3)]
        assert spoken[0] == spoken[1] == spoken[2]
        assert spoken[0] == tokens[10:]


LLAMA = FOREIGN / "llama-optimum-plain"
TOKENS = truth(LLAMA.name)[0]


class TestKv:
    @pytest.mark.parametrize("name", ["llama-optimum-merged", "llama-builder-int4"])
    def test_what_was_taken_back_is_forgotten(self, name: str) -> None:
        engine = opened(FOREIGN / name)
        wanted = feed(engine, 0, TOKENS[:8])
        feed(engine, 1, [*TOKENS[:5], 9, 9, 9])
        engine.trim(1, 5)
        assert np.abs(feed(engine, 1, TOKENS[5:8], start=5) - wanted).max() < 1e-4
        engine.drop(1)
        assert np.abs(feed(engine, 1, TOKENS[:8]) - wanted).max() < 1e-4

    def test_a_fork_leaves_its_source_alone(self) -> None:
        engine = opened(LLAMA)
        feed(engine, 0, TOKENS[:8])
        assert engine.fork(0, 1, 5)
        feed(engine, 1, [9, 9], start=5)
        found = feed(engine, 0, TOKENS[8:10], start=8)
        assert np.abs(found - feed(opened(LLAMA), 0, TOKENS[:10])).max() < 1e-4

    def test_saved_kv(self) -> None:
        engine = opened(LLAMA)
        feed(engine, 0, TOKENS[:8])
        saved = engine.save(0)
        other = opened(LLAMA)
        other.load(2, saved)
        found = feed(other, 2, TOKENS[8:10], start=8)
        assert np.abs(found - feed(engine, 0, TOKENS[8:10], start=8)).max() < 1e-5

    def test_a_graph_of_two_branches_that_takes_no_chunks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(foreign.Alone, "_takes_chunks", lambda self: False)
        engine = opened(FOREIGN / "llama-optimum-merged")
        feed(engine, 0, TOKENS[:3])
        runs: list[int] = []
        real = foreign.Alone._piece
        monkeypatch.setattr(
            foreign.Alone,
            "_piece",
            lambda self, seat, past, tokens: (
                runs.append(len(tokens)) or real(self, seat, past, tokens)
            ),
        )
        found = feed(engine, 0, TOKENS[3:8], start=3)
        assert runs == [1] * 5
        assert np.abs(found - feed(opened(LLAMA), 0, TOKENS[:8])).max() < 1e-4

    def test_that_is_found_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A graph whose chunks come out otherwise is not given any."""
        real = foreign.Alone._piece

        def wrong(self: Any, seat: int, past: int, tokens: Any) -> Any:
            logits = real(self, seat, past, tokens)
            return logits[::-1] if past and len(tokens) > 1 else logits

        monkeypatch.setattr(foreign.Alone, "_piece", wrong)
        engine = opened(FOREIGN / "llama-optimum-merged")
        assert engine.model._executor._most_later == 1


class TestInPlace:
    @pytest.mark.parametrize("name", FOLDERS)
    def test_who_is(self, name: str) -> None:
        wanted = "in place" if "builder" in name else "copied"
        assert opened(FOREIGN / name).meta("kv") == wanted

    def test_unequal_sequences_side_by_side(self) -> None:
        """With an idle seat between them, and one that was taken back."""
        tokens, logits = truth("llama-builder-int4")
        engine = opened(FOREIGN / "llama-builder-int4", sequences=4)
        for seq, num in enumerate((3, 12, 7, 15)):
            feed(engine, seq, tokens[:num])
        engine.trim(3, 9)
        engine.decode([(seq, at, tokens[at], True) for seq, at in ((0, 3), (2, 7), (3, 9))])
        for row, at in enumerate((3, 7, 9)):
            assert np.abs(engine.logits(row) - logits[at]).max() < 1e-3
        assert np.abs(feed(engine, 1, tokens[12:14], start=12) - logits[13]).max() < 1e-3

    def test_a_lone_sequence_that_is_taken_back(self) -> None:
        """Between steps beside another, and a fork: each reads its own tokens and no others."""
        tokens, logits = truth("llama-builder-int4")
        engine = opened(FOREIGN / "llama-builder-int4", sequences=3)
        feed(engine, 0, tokens[:5])
        for at in (5, 6, 7):
            feed(engine, 0, tokens[at : at + 1], start=at)
        engine.trim(0, 5)
        assert np.abs(feed(engine, 0, tokens[5:6], start=5) - logits[5]).max() < 1e-3
        assert engine.fork(0, 1, 4)
        assert np.abs(feed(engine, 1, tokens[4:5], start=4) - logits[4]).max() < 1e-3
        engine.decode([(0, 6, tokens[6], True), (1, 5, tokens[5], True)])
        for seq, at in ((0, 7), (1, 6), (1, 7), (0, 8)):
            found = feed(engine, seq, tokens[at : at + 1], start=at)
            assert np.abs(found - logits[at]).max() < 1e-3

    def test_a_graph_that_means_it_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows of unequal length come out wrong: it is run as others are, and says so."""
        real = foreign_in_place.InPlace._side_by_side

        def wrong(self: Any, run: Run) -> None:
            real(self, replace(run, past=np.full_like(run.past, run.past.max())))

        monkeypatch.setattr(foreign_in_place.InPlace, "_side_by_side", wrong)
        engine = opened(FOREIGN / "llama-builder-int4")
        assert engine.meta("kv") == "copied"
        wanted = truth("llama-builder-int4")[1][9]
        assert np.abs(feed(engine, 0, truth("llama-builder-int4")[0][:10]) - wanted).max() < 1e-3

    def test_one_seat(self) -> None:
        tokens, logits = truth("llama-builder-int4")
        engine = opened(FOREIGN / "llama-builder-int4", sequences=1)
        assert engine.meta("kv") == "in place"
        assert np.abs(feed(engine, 0, tokens[:7]) - logits[6]).max() < 1e-3
        assert np.abs(feed(engine, 0, tokens[7:8], start=7) - logits[7]).max() < 1e-3

    def test_no_room_to_try(self) -> None:
        tokens, logits = truth("llama-builder-int4")
        engine = opened(FOREIGN / "llama-builder-int4", context=7)
        assert engine.meta("kv") == "copied"
        assert np.abs(feed(engine, 0, tokens[:7]) - logits[6]).max() < 1e-3


class TestFolders:
    def test_what_is_known_before_it_is_opened(self) -> None:
        bundle = open_bundle(FOREIGN / "llama-builder-int4")
        assert (bundle.engine, bundle.architecture, bundle.context) == ("onnxruntime", "llama", 128)
        assert [file.path for file in bundle.files] == ["model.onnx", "model.onnx.data"]
        assert bundle.chat_template
        assert bundle.eos_token == "<|im_end|>"
        assert "<|im_start|>" in bundle.control_tokens

    def test_nothing_is_written_but_our_cache(self, cache: Path) -> None:
        before = snapshot(LLAMA)
        opened(LLAMA)
        assert snapshot(LLAMA) == before
        assert len(list((cache / "vocabularies").iterdir())) == 1

    def test_a_changed_tokenizer_is_read_anew(self, cache: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(LLAMA, tmp_path / "copy"))
        open_bundle(folder)
        (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
        assert open_bundle(folder).chat_template == "{{ messages[0].content }}"
        assert len(list((cache / "vocabularies").iterdir())) == 2

    def test_the_layout_of_onnx_community(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = {path.name: path.read_bytes() for path in LLAMA.iterdir() if path.suffix != ".onnx"}
        graph = (LLAMA / "model.onnx").read_bytes()
        files = texts | {"onnx/model.onnx": graph, "onnx/model_q4.onnx": graph}
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        at = hugging_face_repo(tmp_path, "onnx-community/tiny", files)
        bundle = open_bundle(resolve("hf:onnx-community/tiny/onnx/model_q4.onnx"))
        assert (bundle.quantization, bundle.files[0].path) == ("Q4", "onnx/model_q4.onnx")
        wanted = truth(LLAMA.name)[1][9]
        engine = opened(at / "onnx" / "model_q4.onnx")
        assert np.abs(feed(engine, 0, TOKENS[:10]) - wanted).max() < 1e-4
        with pytest.raises(ModelNotFoundError, match="has 2 graphs") as raised:
            open_bundle(at)
        assert "onnx/model_q4.onnx" in raised.value.hint

    def test_a_folder_that_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(ModelNotFoundError, match="is not a bundle"):
            open_bundle(tmp_path)

    def test_without_a_tokenizer(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(LLAMA, tmp_path / "copy"))
        (folder / "tokenizer.json").unlink()
        with pytest.raises(BundleError, match=r"has no tokenizer\.json"):
            open_bundle(folder)

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gguf", None)
        with pytest.raises(UnsupportedError, match="needs the package gguf") as raised:
            open_bundle(LLAMA)
        assert "edgereason[onnx]" in raised.value.hint

    def test_a_longer_context_than_it_was_made_for(self) -> None:
        with pytest.raises(UsageError, match="context must be at most 128"):
            opened(LLAMA, context=129)


class TestGraphs:
    """What other tools' graphs may have and lack, by changes to one that runs."""

    def changed(self, tmp_path: Path, change: Callable[[Any], None]) -> Path:
        onnx = pytest.importorskip("onnx")
        folder = Path(shutil.copytree(LLAMA, tmp_path / "changed"))
        model = onnx.load(folder / "model.onnx")
        change(model.graph)
        onnx.save(model, folder / "model.onnx")
        return folder

    def test_no_cache(self, tmp_path: Path) -> None:
        def change(graph: Any) -> None:
            for port in list(graph.input):
                if port.name.startswith("past_key_values"):
                    self.constant(graph, port, np.zeros((1, 2, 0, 16), np.float32))

        with pytest.raises(UnsupportedError, match="has no KV cache") as raised:
            opened(self.changed(tmp_path, change))
        assert "text-generation-with-past" in raised.value.hint

    def test_an_input_that_nobody_knows(self, tmp_path: Path) -> None:
        def change(graph: Any) -> None:
            graph.input.append(graph.input[0].__class__())
            graph.input[-1].CopyFrom(graph.input[0])
            graph.input[-1].name = "pixel_values"

        with pytest.raises(UnsupportedError, match="it wants pixel_values"):
            opened(self.changed(tmp_path, change))

    def test_without_its_present(self, tmp_path: Path) -> None:
        def change(graph: Any) -> None:
            graph.output.remove(next(o for o in graph.output if o.name == "present.0.value"))

        with pytest.raises(UnsupportedError, match=r"gives no present\.0\.value"):
            opened(self.changed(tmp_path, change))

    def test_int32_inputs(self, tmp_path: Path) -> None:
        onnx = pytest.importorskip("onnx")

        def change(graph: Any) -> None:
            for port in graph.input:
                if port.name == "attention_mask":
                    port.type.tensor_type.elem_type = onnx.TensorProto.INT32
            cast = onnx.helper.make_node("Cast", ["attention_mask"], ["mask64"], to=7)
            for node in graph.node:
                node.input[:] = ["mask64" if n == "attention_mask" else n for n in node.input]
            graph.node.insert(0, cast)

        engine = opened(self.changed(tmp_path, change))
        assert np.abs(feed(engine, 0, TOKENS[:10]) - truth(LLAMA.name)[1][9]).max() < 1e-4

    def test_without_position_ids(self, tmp_path: Path) -> None:
        """As exports before optimum 1.14: positions are counted inside, by the mask."""
        onnx = pytest.importorskip("onnx")

        def change(graph: Any) -> None:
            (port,) = (p for p in graph.input if p.name == "position_ids")
            graph.input.remove(port)
            for name, value in (("p.one", 1), ("p.zero", 0)):
                graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
            axes = onnx.numpy_helper.from_array(np.array([0]), "p.axes")
            graph.initializer.append(axes)
            make = onnx.helper.make_node
            for node in reversed(
                [
                    make("Shape", ["attention_mask"], ["p.total1"], start=1, end=2),
                    make("Shape", ["input_ids"], ["p.new1"], start=1, end=2),
                    make("Squeeze", ["p.total1", "p.axes"], ["p.total"]),
                    make("Squeeze", ["p.new1", "p.axes"], ["p.new"]),
                    make("Sub", ["p.total", "p.new"], ["p.past"]),
                    make("Range", ["p.past", "p.total", "p.one"], ["p.row"]),
                    make("Unsqueeze", ["p.row", "p.axes"], ["position_ids"]),
                ]
            ):
                graph.node.insert(0, node)

        folder = self.changed(tmp_path, change)
        tokens, logits = truth(LLAMA.name)
        engine = opened(folder)
        assert np.abs(feed(engine, 0, tokens[:10]) - logits[9]).max() < 1e-4
        for at in range(10, len(logits)):
            assert np.abs(feed(engine, 0, tokens[at : at + 1], start=at) - logits[at]).max() < 1e-4

    @pytest.mark.filterwarnings("ignore")  # of the quantizer's dependencies
    def test_int8(self, tmp_path: Path) -> None:
        """As onnx-community writes `model_int8.onnx`: what the graph says of all tokens at once."""
        pytest.importorskip("onnx")
        from onnxruntime import InferenceSession
        from onnxruntime.quantization import QuantType, quantize_dynamic

        folder = Path(shutil.copytree(LLAMA, tmp_path / "tiny"))
        (folder / "onnx").mkdir()
        graph = folder / "onnx" / "model_int8.onnx"
        quantize_dynamic(folder / "model.onnx", graph, weight_type=QuantType.QInt8)
        (folder / "model.onnx").unlink()
        bundle = open_bundle(folder)
        assert (bundle.quantization, bundle.files[0].path) == ("INT8", "onnx/model_int8.onnx")

        tokens, plain = truth(LLAMA.name)
        session = InferenceSession(graph, providers=["CPUExecutionProvider"])
        past = {
            port.name: np.zeros((1, port.shape[1], 0, port.shape[3]), np.float32)
            for port in session.get_inputs()
            if port.name.startswith("past")
        }

        def alone(num: int) -> np.ndarray:
            """One run of so many tokens, by onnxruntime: activations are quantized by their range,
            so a run of others is not the same to the last bit."""
            ids = np.array([tokens[:num]])
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids), **past}
            given["position_ids"] = np.arange(num)[None]
            return np.asarray(session.run(["logits"], given)[0])[0, -1]

        engine = opened(folder)
        assert np.abs(feed(engine, 0, tokens[:10]) - alone(10)).max() < 1e-4
        for at in range(10, len(plain)):
            found = feed(engine, 0, tokens[at : at + 1], start=at)
            assert np.abs(found - alone(at + 1)).max() < 0.6  # kernels differ between CPUs
            assert np.corrcoef(found, plain[at])[0, 1] > 0.99

    @staticmethod
    def constant(graph: Any, port: Any, value: np.ndarray) -> None:
        from onnx import numpy_helper

        graph.input.remove(port)
        graph.initializer.append(numpy_helper.from_array(value, port.name))


def test_a_graph_of_another_device() -> None:
    """onnxruntime opens it, and has no kernel for it on a CPU."""
    with pytest.raises(UnsupportedError, match="does not run on CPUExecutionProvider") as raised:
        opened(FOREIGN / OTHER_DEVICE)
    assert "export it anew" in raised.value.hint


def test_a_graph_that_fails_behind_a_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime fails with fp16 graphs of grouped heads that the builder makes for a CPU."""
    real = foreign.Alone._piece

    def fails(self: Any, seat: int, past: int, tokens: Any) -> Any:
        if past:
            raise RuntimeError("Shape mismatch attempting to re-use buffer")
        return real(self, seat, past, tokens)

    monkeypatch.setattr(foreign.Alone, "_piece", fails)
    with pytest.raises(UnsupportedError, match="Shape mismatch"):
        opened(LLAMA)


def test_what_it_cannot_do_is_refused_before_the_first_token() -> None:
    with Reasoner.open(LLAMA, threads=1) as reasoner:
        assert not reasoner.engine.info["caps"] & Capability.EMBED_IN.value
        with pytest.raises(UnsupportedError, match="coconut"):
            reasoner.ask("Hi", strategy="coconut", options={"latents": 2, "start": "", "end": ""})


def test_many_at_once_say_what_each_says_alone() -> None:
    with Reasoner.open(FOREIGN / "llama-builder-int4", threads=1) as reasoner:
        prompts = [f"Three times {n}" for n in range(5)]
        options: dict[str, Any] = {"strategy": "no-think", "answer_budget": 24}
        alone = [reasoner.ask(prompt, **options).answer for prompt in prompts]
        handles = [reasoner.submit(prompt, **options) for prompt in prompts]
        assert [handle.result().answer for handle in handles] == alone


def test_a_new_text_is_read_without_the_kv_of_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held until the new is there, the two take twice the memory, and each page is a new one."""
    now: list[tuple[foreign.Alone, int, int]] = []
    piece, run = foreign.Alone._piece, InferenceSession.run_with_iobinding

    def begin(self: foreign.Alone, seat: int, past: int, tokens: Any) -> Any:
        now[:] = [(self, seat, past)]
        return piece(self, seat, past, tokens)

    held = []

    def watched(session: InferenceSession, binding: Any) -> None:
        alone, seat, past = now[0]
        if past == 0:
            held.append(sum(value.numpy().size for value in alone._kv[seat]))
        run(session, binding)

    monkeypatch.setattr(foreign.Alone, "_piece", begin)
    monkeypatch.setattr(InferenceSession, "run_with_iobinding", watched)
    with Reasoner.open(FOREIGN / "llama-optimum-plain", context=128, sequences=1) as reasoner:
        held.clear()
        for text in ("one two three", "three two one"):
            reasoner.ask(text, strategy="raw", answer_budget=4)
    assert held == [0, 0]


def test_the_command_line(cli: Cli) -> None:
    ran = cli("run", "Hi", "-m", str(LLAMA), "--threads", "1", "--answer-budget", "4", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["model"] == "llama-optimum-plain"
    assert "onnxruntime" in cli("show", str(LLAMA)).out

"""Engines whose model is a Python object: what crosses the border, and how it goes wrong."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import _core
from edgereason.engines import llamacpp
from edgereason.errors import (
    BundleError,
    ContextFullError,
    EngineError,
    ModelNotFoundError,
    UsageError,
)
from edgereason.models.bundle import open_bundle
from edgereason.records import Capability
from support.host_models import EMBD, Sums, engine_of
from support.places import ROOT
from support.tiny_models import NUM_VOCAB, write_model, write_vocab


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    return write_vocab(tmp_path / "vocab.gguf")


def answer(engine: _core.Engine, row: int) -> int:
    logits = engine.logits(row)
    assert logits is not None
    return int(logits.argmax())


class TestSteps:
    def test_rows_arrive_as_they_were_given(self, vocab: Path) -> None:
        model = Sums()
        engine = engine_of(model, vocab)
        engine.decode([(0, 0, 3, False), (2, 0, 5, True), (0, 1, 4, True)])
        assert model.calls == [([0, 2, 0], [0, 0, 1], [3, 5, 4], [False, True, True])]
        assert (answer(engine, 1), answer(engine, 2)) == (5, 7)
        assert engine.logits(0) is None
        hidden = engine.hidden(2)
        assert hidden is not None
        assert hidden.tolist() == [7.0] * EMBD

    def test_embeddings_arrive_beside_tokens(self, vocab: Path) -> None:
        engine = engine_of(Sums(), vocab)
        row = np.array([1, 2, 3, 4], np.float32)
        engine.decode([(0, 0, 3, False), (0, 1, row, True)])
        assert answer(engine, 1) == 13

    def test_results_are_kept_alive_and_read_in_place(self, vocab: Path) -> None:
        given = np.zeros((1, NUM_VOCAB), np.float32)

        class Fixed(Sums):
            def decode(self, *rows: Any) -> Any:
                return given, None

        engine = engine_of(Fixed(), vocab)
        engine.decode([(0, 0, 1, True)])
        given[0, 9] = 1
        assert answer(engine, 0) == 9
        assert engine.hidden(0) is None

    def test_a_step_without_output_needs_no_logits(self, vocab: Path) -> None:
        class Silent(Sums):
            def decode(self, *rows: Any) -> Any:
                return None, None

        engine = engine_of(Silent(), vocab)
        engine.decode([(0, 0, 1, False)])
        assert engine.logits(0) is None

    def test_a_row_alone_is_a_step_where_the_model_has_it(self, vocab: Path) -> None:
        class Steps(Sums):
            def step(self, seq: int, token: int) -> Any:
                self.calls.append((seq, token))
                if token == 9:
                    raise ContextFullError("full")
                self.held.setdefault(seq, []).append(token)
                return np.eye(1, NUM_VOCAB, sum(self.held[seq]), np.float32)

        model = Steps()
        engine = engine_of(model, vocab)
        engine.decode([(1, 0, 3, True)])
        assert answer(engine, 0) == 3
        assert engine.hidden(0) is None
        engine.decode([(1, 1, 4, True), (0, 0, 5, True)])
        assert (answer(engine, 0), answer(engine, 1)) == (7, 5)
        engine.decode([(1, 2, 6, False)])
        assert engine.logits(0) is None
        engine.decode([(1, 3, np.array([1, 2, 3, 4], np.float32), True)])
        assert answer(engine, 0) == 23
        with pytest.raises(ContextFullError):
            engine.decode([(1, 4, 9, True)])
        assert [call[:2] for call in model.calls] == [
            *((1, 3), ([1, 0], [1, 0]), (1, 6), ([1], [3]), (1, 9))
        ]

    def test_threads_are_set_only_where_there_are_several(self, vocab: Path) -> None:
        model = Sums()
        engine_of(model, vocab).set_threads(1)
        assert model.calls == []
        engine_of(model, vocab, max_threads=4).set_threads(9)
        assert model.calls == [4]


class TestSequences:
    def test_fork_trim_drop(self, vocab: Path) -> None:
        model = Sums()
        engine = engine_of(model, vocab)
        engine.decode([(0, pos, pos + 1, False) for pos in range(4)])
        assert engine.fork(0, 1, 2)
        engine.decode([(1, 2, 10, True)])
        assert answer(engine, 0) == 13
        assert engine.trim(0, 1)
        engine.drop(1)
        assert model.held == {0: [1]}

    def test_without_the_capability_nothing_is_asked(self, vocab: Path) -> None:
        engine = engine_of(Sums(), vocab, caps=Capability.LOGITS.value)
        engine.decode([(0, 0, 1, False), (0, 1, 1, False)])
        assert not engine.fork(0, 1, 1)
        assert not engine.trim(0, 1)
        with pytest.raises(EngineError, match="takes no embeddings"):
            engine.decode([(1, 0, np.zeros(EMBD, np.float32), True)])

    def test_saved_kv_fits_only_the_model_it_came_from(self, vocab: Path) -> None:
        engine = engine_of(Sums(), vocab, fingerprint="one")
        engine.decode([(0, 0, 7, False), (0, 1, 1, False)])
        state = engine.save(0)
        other = engine_of(Sums(), vocab, fingerprint="one")
        other.load(2, state)
        other.decode([(2, 2, 2, True)])
        assert answer(other, 0) == 10
        with pytest.raises(BundleError, match="another model"):
            engine_of(Sums(), vocab, fingerprint="two").load(0, state)


class TestFailures:
    def test_an_exception_is_the_engines_error(self, vocab: Path) -> None:
        model = Sums()
        engine = engine_of(model, vocab)
        model.error = RuntimeError("no such kernel")
        with pytest.raises(EngineError, match=r"RuntimeError: no such kernel \(.*host_models"):
            engine.decode([(0, 0, 1, True)])
        assert engine.logits(0) is None

    def test_no_room_changes_nothing(self, vocab: Path) -> None:
        model = Sums()
        engine = engine_of(model, vocab)
        model.error = ContextFullError("the device is full")
        with pytest.raises(ContextFullError):
            engine.decode([(0, 0, 1, True)])
        model.error = None
        engine.decode([(0, 0, 1, True)])

    @pytest.mark.parametrize(
        ("logits", "message"),
        [
            (np.zeros((1, NUM_VOCAB)), "dtype"),
            (np.zeros((0, NUM_VOCAB), np.float32), r"logits must be \[1, 259\], got \[0, 259\]"),
            (np.zeros((1, 8), np.float32), r"logits must be \[1, 259\], got \[1, 8\]"),
            (np.zeros((NUM_VOCAB, 2), np.float32).T[:1], "contiguous"),
            (None, "logits"),
        ],
    )
    def test_wrong_results_are_refused(self, vocab: Path, logits: Any, message: str) -> None:
        class Wrong(Sums):
            def decode(self, *rows: Any) -> Any:
                return logits, None

        with pytest.raises(EngineError, match=message):
            engine_of(Wrong(), vocab).decode([(0, 0, 1, True)])

    def test_a_broken_trim_breaks_the_engine(self, vocab: Path) -> None:
        class Stuck(Sums):
            def trim(self, seq: int, length: int) -> None:
                raise RuntimeError("stuck")

        engine = engine_of(Stuck(), vocab)
        engine.decode([(0, 0, 1, False)])
        engine.drop(0)
        with pytest.raises(EngineError, match="stuck"):
            engine.decode([(0, 0, 1, True)])

    def test_ctrl_c_in_the_model_is_nobodys_error(self, vocab: Path) -> None:
        model = Sums()
        engine = engine_of(model, vocab)
        model.error = KeyboardInterrupt()

        def step() -> None:
            engine.decode([(0, 0, 1, True)])

        with pytest.raises(KeyboardInterrupt):
            step()


class TestVocabulary:
    def test_is_that_of_the_same_gguf_with_weights(self, vocab: Path, tmp_path: Path) -> None:
        bundle = open_bundle(write_model(tmp_path / "tiny.gguf", "dense"))
        whole = llamacpp.open(bundle, llamacpp.Config(context=256))
        engine = engine_of(Sums(), vocab)
        text = "<|im_start|>user\nhe said 世界<|im_end|>"
        for parse in (True, False):
            tokens = engine.tokenize(text, parse_control=parse)
            assert tokens == whole.tokenize(text, parse_control=parse)
        assert engine.detokenize(tokens) == text.encode()
        everything = range(NUM_VOCAB)
        assert [engine.piece(t) for t in everything] == [whole.piece(t) for t in everything]
        assert [engine.ends(t) for t in everything] == [whole.ends(t) for t in everything]
        assert (engine.bos, engine.add_bos) == (whole.bos, whole.add_bos)

    def test_meta_is_the_files_and_the_models(self, vocab: Path) -> None:
        engine = engine_of(Sums(), vocab, meta={"provider": "here"})
        assert engine.meta("provider") == "here"
        assert engine.meta("tokenizer.ggml.model") == "gpt2"
        assert engine.meta("nothing") is None

    def test_bad_ones_are_refused(self, vocab: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError):
            engine_of(Sums(), tmp_path / "none.gguf")
        with pytest.raises(BundleError, match="has 259 tokens, the model 300"):
            engine_of(Sums(), vocab, num_vocab=300)
        with pytest.raises(UsageError, match="sizes"):
            engine_of(Sums(), vocab, context=0)
        for cut in (0, 10, 100, vocab.stat().st_size - 40):
            vocab.write_bytes(vocab.read_bytes()[:cut])
            with pytest.raises(BundleError, match="cannot read the vocabulary"):
                engine_of(Sums(), vocab)


class TestLifetime:
    @pytest.mark.parametrize("bad", [False, True])
    def test_the_model_is_freed_with_its_engine(self, vocab: Path, bad: bool) -> None:
        model = Sums()
        gone = weakref.ref(model)
        if bad:
            with pytest.raises(BundleError):
                engine_of(model, vocab, num_vocab=3)
        else:
            engine_of(model, vocab).decode([(0, 0, 1, True)])
        del model
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize(
        "last",
        [
            "del scheduler, engine",  # its thread wants the GIL for the rest of its step
            "sys.scheduler = scheduler",  # it runs until the interpreter is gone
            "scheduler.stop()",
        ],
    )
    def test_a_process_ends_while_a_model_runs(self, vocab: Path, last: str) -> None:
        script = RUNNING.format(last=last)
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", script, str(vocab)],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


RUNNING = """
import sys, time
from pathlib import Path
from edgereason import _core
from edgereason.prompt.lowering import lower
from edgereason.records import Phase, Segment
from support.host_models import Sums, engine_of

class Slow(Sums):
    def decode(self, *rows):
        time.sleep(0.02)
        logits, hidden = super().decode(*rows)
        logits[:] = 0
        logits[:, 65] = 1  # never the end
        return logits, hidden

engine = engine_of(Slow(), Path(sys.argv[1]), context=4096)
scheduler = _core.Scheduler(engine)
scheduler.start()
phase = Phase("answer", fresh=(Segment("abc"),), budget=2000)
scheduler.run(scheduler.open(), lower(phase, engine))
while scheduler.stats()["num_steps"] <= 3:
    time.sleep(0.02)
{last}
print("done")
"""

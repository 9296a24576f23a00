"""Importance matrices, traces of a model's own thinking, and calibration on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason.bench.harness.problems import problems
from edgereason.errors import BundleError, UnsupportedError, UsageError
from edgereason.export.weights import calibrate as calibration
from edgereason.export.weights import imatrix as files
from edgereason.export.weights import traces
from edgereason.export.weights.calibrate import Text, calibrate
from edgereason.export.weights.imatrix import Imatrix
from edgereason.export.weights.traces import Wanted, read_questions
from edgereason.models import gguf
from edgereason.models.bundle import open_bundle
from edgereason.runtime.reasoner import Reasoner
from support.cli_runner import Cli
from support.gguf_files import write_gguf
from support.tiny_models import write_model


def silent(stage: str, done: int, total: int) -> None:
    pass


def imatrix() -> Imatrix:
    return Imatrix(
        sums={
            "blk.0.attn_q.weight": np.array([[2, 4, 8]], np.float32),
            "blk.0.ffn_up_exps.weight": np.array([[3, 6], [0, 0]], np.float32),
        },
        counts={
            "blk.0.attn_q.weight": np.array([2]),
            "blk.0.ffn_up_exps.weight": np.array([3, 0]),
        },
        largest={"blk.0.attn_q.weight": 2.5},
        datasets=("thinking on a.jsonl",),
        num_chunks=7,
    )


# --- files ----------------------------------------------------------------------------------------


def test_files_are_read_back(tmp_path: Path) -> None:
    written = imatrix()
    files.write(written, tmp_path / "i.gguf")
    read = files.read(tmp_path / "i.gguf")
    assert (read.datasets, read.num_chunks, read.chunk_size) == (written.datasets, 7, 512)
    assert read.largest == written.largest
    for name, sums in written.sums.items():
        np.testing.assert_array_equal(read.sums[name], sums)
        np.testing.assert_array_equal(read.counts[name], written.counts[name])
    assert [path.name for path in tmp_path.iterdir()] == ["i.gguf"]


def test_files_are_as_llama_cpp_reads_them(tmp_path: Path) -> None:
    """What its `common_imatrix_load` and `llama-quantize` ask for."""
    files.write(imatrix(), tmp_path / "i.gguf")
    header = gguf.read(tmp_path / "i.gguf")
    assert set(header.metadata) == {
        "general.type",
        "imatrix.datasets",
        "imatrix.chunk_count",
        "imatrix.chunk_size",
    }
    assert header.text("general.type") == "imatrix"
    shapes = {tensor.name: (tensor.shape, tensor.type) for tensor in header.tensors}
    assert shapes["blk.0.ffn_up_exps.weight.in_sum2"] == ((2, 2), 0)
    assert shapes["blk.0.ffn_up_exps.weight.counts"] == ((1, 2), 0)
    assert shapes["blk.0.attn_q.weight.in_sum2"] == ((3, 1), 0)


def test_importance_is_the_mean_square(tmp_path: Path) -> None:
    found = imatrix().importance("blk.0.attn_q.weight")
    assert found is not None
    assert found.tolist() == [[1, 2, 4]]
    experts = imatrix().importance("blk.0.ffn_up_exps.weight")
    assert experts is not None
    assert experts.tolist() == [[1, 2], [1, 1]]  # the second was never asked
    assert imatrix().importance("blk.9.attn_q.weight") is None


def test_what_is_no_importance_matrix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no importance matrix, but a model"):
        files.read(write_gguf(tmp_path / "model.gguf"))
    (tmp_path / "cut.gguf").write_bytes(b"")
    with pytest.raises(BundleError):
        files.read(tmp_path / "cut.gguf")
    files.write(imatrix(), tmp_path / "i.gguf")
    raw = (tmp_path / "i.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(raw[:-40])
    with pytest.raises(BundleError, match="truncated"):
        files.read(tmp_path / "cut.gguf")
    (tmp_path / "lonely.gguf").write_bytes(raw.replace(b".counts", b".county"))
    with pytest.raises(BundleError, match=r"no counts for blk.0.attn_q.weight"):
        files.read(tmp_path / "lonely.gguf")
    with pytest.raises(BundleError, match="not finite"):
        Imatrix({"w": np.array([[np.inf]], np.float32)}, {"w": np.array([1])}, {})


# --- questions ------------------------------------------------------------------------------------


def test_questions_are_lines_or_objects(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("What is 1 + 1?\n\n  Why?  \n")
    assert read_questions(tmp_path / "q.txt") == ["What is 1 + 1?", "Why?"]
    (tmp_path / "q.jsonl").write_text('{"question": "Why?", "answer": "Because"}\n')
    assert read_questions(tmp_path / "q.jsonl") == ["Why?"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" \n", "holds no questions"),
        ('{"question": "Why?"}\n{"prompt": "x", "id": 3}', "line 2 .*its keys are prompt, id"),
        ('{"question": "Why?"}\n{"question": ', "line 2 is not JSON"),
        ('["question"]', 'line 1 has no text under "question"'),
        ('{"question": 3}', 'line 1 has no text under "question"'),
    ],
)
def test_wrong_questions_are_told_by_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "q.jsonl").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_questions(tmp_path / "q.jsonl")
    with pytest.raises(UsageError, match="cannot read questions"):
        read_questions(tmp_path / "none.txt")


# --- traces ---------------------------------------------------------------------------------------

QUESTIONS = ["What is 1 + 1?", "Why?", "he said"]
WANTED = Wanted(tokens=120, think_tokens=20, answer_tokens=4, seed=5)


def traces_of(path: Path, wanted: Wanted = WANTED, keep: Path | None = None) -> list[list[int]]:
    with Reasoner.open(str(path), threads=1, context=2048) as reasoner:
        return traces.sample(reasoner, QUESTIONS, wanted, silent, keep)


def test_traces_are_prompt_thinking_and_answer(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    traces = traces_of(path)
    with Reasoner.open(str(path), threads=1, context=2048) as reasoner:
        engine, reasoning = reasoner.engine, reasoner.bundle.reasoning
        texts = [engine.detokenize(trace).decode(errors="replace") for trace in traces]
    for index, text in enumerate(texts):
        assert QUESTIONS[index % 3] in text
        assert text.startswith("<|im_start|>user\n")
        assert text.count(reasoning.answer) >= 1
    assert len({tuple(trace) for trace in traces}) == len(traces) > 3  # asked again: other seeds


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, keep = write_model(tmp_path / "tiny.gguf", "dense"), tmp_path / "kept"
    first = traces_of(path, Wanted(tokens=60, think_tokens=20, answer_tokens=4, seed=5), keep)
    lines = keep.read_text().splitlines()
    assert len(lines) == 1 + len(first) > 2
    keep.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:9])  # killed while it wrote
    asked = []
    request = traces._request

    def counting(reasoner: Any, questions: Any, wanted: Any, index: int) -> Any:
        asked.append(index)
        return request(reasoner, questions, wanted, index)

    monkeypatch.setattr(traces, "_request", counting)
    whole = traces_of(path, WANTED, keep)
    assert whole[: len(first)] == first
    assert asked == list(range(len(first) - 1, len(whole)))
    asked.clear()
    other = Wanted(tokens=120, think_tokens=20, answer_tokens=4, seed=6)
    assert traces_of(path, other, keep) != whole
    assert asked[0] == 0  # other seeds: what was kept is of no use


class Interrupted(Exception):
    """As Ctrl-C."""


def interrupt(model: str, text: Text, out: Path, after: int) -> None:
    """A calibration that is stopped after so many traces."""
    left = [after]

    def stop(stage: str, done: int, total: int) -> None:
        left[0] -= 1
        if stage == "thinking" and left[0] == 0:
            raise Interrupted

    with pytest.raises(Interrupted):
        calibrate(model, text, out, stop)


def test_a_run_that_was_interrupted_writes_what_it_would_have_written(tmp_path: Path) -> None:
    """On a real model: nano draws other tokens as soon as another batch changes its logits."""
    asked = (problem.question for problem in problems("chain", 12, seed=1))
    (tmp_path / "q.txt").write_text("\n".join(asked))
    text = Text(tmp_path / "q.txt", None, Wanted(tokens=300, think_tokens=100, seed=3))
    whole, out = tmp_path / "whole.gguf", tmp_path / "i.gguf"
    calibrate("nano", text, whole, silent)
    for stops in ((1,), (2, 1)):
        for after in stops:
            interrupt("nano", text, out, after)
        calibrate("nano", text, out, silent)
        assert out.read_bytes() == whole.read_bytes(), stops


def test_a_model_that_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_trace", lambda *_: ([1, 2, 3], 0))
    with pytest.raises(UnsupportedError, match=r"thinks and answers nothing.*--text"):
        traces_of(write_model(tmp_path / "tiny.gguf", "dense"))


# --- calibration ----------------------------------------------------------------------------------


def test_calibration_reads_traces_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    (tmp_path / "q.txt").write_text("\n".join(QUESTIONS))
    (tmp_path / "prose.txt").write_text("The sea was calm. " * 100)
    read: list[int] = []
    sample = traces.sample

    def counting(*args: Any) -> Sequence[list[int]]:
        traces = sample(*args)
        read.append(sum(map(len, traces)))
        return traces

    monkeypatch.setattr(calibration, "sample", counting)
    out = tmp_path / "out" / "imatrix.gguf"
    text = Text(tmp_path / "q.txt", tmp_path / "prose.txt", WANTED)
    made = calibrate(str(path), text, out, silent)
    found = files.read(out)
    assert found.datasets == ("thinking on q.txt", "prose.txt") == made.datasets
    # Every row of every layer counts, also of the last.
    assert {int(counts[0]) for counts in found.counts.values()} == {read[0] + WANTED.tokens}
    assert set(found.sums) == {tensor.name for tensor in gguf.read(path).tensors} - {
        name for tensor in gguf.read(path).tensors if "norm" in (name := tensor.name)
    }
    assert [file.name for file in out.parent.iterdir()] == ["imatrix.gguf"]


def test_what_cannot_be_calibrated_is_told_before_any_work(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    with pytest.raises(UsageError, match="nothing to calibrate on"):
        Text(None, None, WANTED)
    with pytest.raises(UsageError, match="tokens must be 1 or more, got 0"):
        Wanted(tokens=0)
    (tmp_path / "empty.txt").write_text("  \n")
    for text, says in (
        (Text(None, tmp_path / "empty.txt", WANTED), "is empty"),
        (Text(None, tmp_path / "none.txt", WANTED), "cannot read"),
        (Text(tmp_path / "empty.txt", None, WANTED), "holds no questions"),
    ):
        with pytest.raises(UsageError, match=says):
            calibrate(str(path), text, tmp_path / "i.gguf", silent)
    assert not (tmp_path / "i.gguf").exists()
    (tmp_path / "q.txt").write_text("Why?")
    for out, says in (
        (tmp_path, "it is a folder"),
        (tmp_path / "q.txt" / "i.gguf", "cannot write"),
    ):
        with pytest.raises(UsageError, match=says):
            calibrate(str(path), Text(tmp_path / "q.txt", None, WANTED), out, silent)


def test_calibration_needs_a_gguf(tmp_path: Path) -> None:
    from support.engine_cases import _scripted_bundle

    bundle = open_bundle(_scripted_bundle(tmp_path))
    (tmp_path / "q.txt").write_text("Why?")
    with pytest.raises(UnsupportedError, match="bundle for scripted, calibration needs a GGUF"):
        calibrate(str(bundle.path), Text(tmp_path / "q.txt", None, WANTED), tmp_path / "i", silent)


def test_a_format_that_needs_importance_is_made_with_it(cli: Cli, tmp_path: Path) -> None:
    """From the command line: think, calibrate, quantize."""
    model = str(write_model(tmp_path / "tiny.gguf", "dense"))
    (tmp_path / "q.txt").write_text("\n".join(QUESTIONS))
    out = str(tmp_path / "imatrix.gguf")
    how = ("--questions", str(tmp_path / "q.txt"), "--tokens", "50", "--think-budget", "20")
    made = cli("export", "calibrate", model, *how, "--out", out, "--json").json
    assert made["path"] == out
    assert made["weights"] == 15
    assert made["tokens"] > 50
    ran = cli("export", "calibrate", model, *how, "--out", out)
    assert ran.out.startswith(f"{out}: 15 weights")

    folder = str(tmp_path / "small")
    quantized = ("export", model, "--to", "gguf", "--quant", "q4_0", "--out", folder)
    assert cli(*quantized, "--imatrix", out, "--json").json
    plain = str(tmp_path / "plain")
    assert cli("export", model, "--to", "gguf", "--quant", "q4_0", "--out", plain, "--json").json
    weights = [(Path(path) / "model.gguf").read_bytes() for path in (folder, plain)]
    assert weights[0] != weights[1]  # the importance had a say

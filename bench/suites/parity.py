"""Does the scheduler change a token? Greedy `no-think` against libllama's own greedy loop.

The same rendered prompt goes through `Reasoner`, alone and with other requests in its batch, and
through llama_decode and an argmax, one row at a time. A batch changes the last bits of the logits:
each difference comes with the margin between the two likeliest tokens where it begins, and with how
far libllama's own batch moves such margins.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy
from numpy.typing import NDArray

from edgereason.errors import EngineError, UsageError
from edgereason.models.bundle import model_file
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner
from ..harness.speed import stay_on

Floats = NDArray[numpy.float32]
_MAX_ROWS: Final = 512


@dataclass(frozen=True, slots=True)
class Reference:
    """What libllama's loop gives for one prompt.

    `rivals` are the two likeliest tokens at each place, `margins` the difference of their logits.
    An answer that ends by itself has one place more than tokens.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    rivals: tuple[tuple[int, int], ...]
    margins: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where ours first differs from the reference, and how close the choice was there."""

    prompt: int
    position: int
    expected: int | None
    got: int | None
    margin: float | None
    shift: float | None = None  # the most that libllama's own batch moves a margin of this prompt


class Bare:
    """libllama with nothing around it: one sequence, the likeliest token."""

    def __init__(self, path: Path, *, context: int, threads: int, max_seqs: int) -> None:
        import llama_cpp
        from llama_cpp._logger import set_verbose

        set_verbose(False)
        self._lib: Any = llama_cpp
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise EngineError(f"libllama cannot load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = _MAX_ROWS
        params.n_seq_max = max_seqs
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True  # as engines/llama.cc has it
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._num_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._batch = llama_cpp.llama_batch_init(_MAX_ROWS, 0, 1)

    def close(self) -> None:
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)

    def greedy(self, prompt: Sequence[int], num: int) -> Reference:
        """Up to `num` tokens after `prompt`, up to the first that ends generation."""
        self._clear()
        tokens: list[int] = []
        rivals: list[tuple[int, int]] = []
        margins: list[float] = []
        rows, pos = list(prompt), 0
        while len(tokens) < num:
            logits = self._decode([(0, pos + i, token) for i, token in enumerate(rows)])[0]
            pos += len(rows)
            token = int(logits.argmax())
            second = int(numpy.argpartition(logits, -2)[-2])
            rivals.append((token, second))
            margins.append(float(logits[token] - logits[second]))
            if self._lib.llama_vocab_is_eog(self._vocab, token):
                break
            tokens.append(token)
            rows = [token]
        return Reference(tuple(prompt), tuple(tokens), tuple(rivals), tuple(margins))

    def largest_shift(self, reference: Reference, others: Sequence[Reference]) -> float:
        """How far the margins of `reference` move when `others` share its batches."""
        self._clear()
        lines = [reference, *others]
        for seq, line in enumerate(lines):
            rows = [(seq, pos, token) for pos, token in enumerate(line.prompt)]
            first = self._decode(rows)[0]
            if seq == 0:
                shifts = [self._shift(reference, 0, first)]
        for at, token in enumerate(reference.tokens[: len(reference.margins) - 1]):
            rows = [(0, len(reference.prompt) + at, token)]
            rows += [
                (seq, len(line.prompt) + at, line.tokens[at % len(line.tokens)])
                for seq, line in enumerate(lines)
                if seq > 0
            ]
            shifts.append(self._shift(reference, at + 1, self._decode(rows)[0]))
        return max(shifts)

    @staticmethod
    def _shift(reference: Reference, at: int, logits: Floats) -> float:
        best, second = reference.rivals[at]
        return abs(float(logits[best] - logits[second]) - reference.margins[at])

    def _clear(self) -> None:
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)

    def _decode(self, rows: Sequence[tuple[int, int, int]]) -> list[Floats]:
        """Decodes (sequence, position, token) rows; the logits of the last row of each sequence."""
        if len(rows) > _MAX_ROWS:
            raise UsageError(f"a prompt of this bench has at most {_MAX_ROWS} tokens")
        last = {seq: i for i, (seq, _, _) in enumerate(rows)}
        self._batch.n_tokens = len(rows)
        for i, (seq, pos, token) in enumerate(rows):
            self._batch.token[i] = token
            self._batch.pos[i] = pos
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = seq
            self._batch.logits[i] = last[seq] == i
        if self._lib.llama_decode(self._context, self._batch) != 0:
            raise EngineError("llama_decode failed")
        return [self._logits(i) for i in sorted(last.values())]

    def _logits(self, row: int) -> Floats:
        found = self._lib.llama_get_logits_ith(self._context, row)
        address = ctypes.cast(found, ctypes.POINTER(ctypes.c_float))
        return numpy.ctypeslib.as_array(address, (self._num_vocab,))


def first_difference(index: int, reference: Reference, got: Sequence[int]) -> Difference | None:
    """None where the tokens are equal; a shorter answer differs where it ends."""
    expected = reference.tokens
    if tuple(got) == expected:
        return None
    pairs = zip(expected, got, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(got)))
    return Difference(
        prompt=index,
        position=at,
        expected=expected[at] if at < len(expected) else None,
        got=got[at] if at < len(got) else None,
        margin=reference.margins[at] if at < len(reference.margins) else None,
    )


@contextlib.contextmanager
def _company(reasoner: Reasoner, num: int, num_tokens: int, seed: int) -> Iterator[None]:
    """Keeps `num` other requests decoding: they never end by themselves."""
    handles = [
        reasoner.submit(
            open_questions()[(seed + i) % len(open_questions())],
            strategy="no-think",
            answer_budget=2 * num_tokens,
            sampling=stay_on(reasoner, seed + i, temperature=0.8),
            stream=True,
        )
        for i in range(num)
    ]
    for handle in handles:
        next(iter(handle))  # its prompt is read
    try:
        yield
    finally:
        for handle in handles:
            handle.cancel()
        for handle in handles:
            handle.result()


def _ours(reasoner: Reasoner, question: str, num: int) -> tuple[int, ...]:
    handle = reasoner.submit(
        question, strategy="no-think", answer_budget=num, sampling=Sampling(temperature=0)
    )
    handle.result()
    return handle.chains[0][-1].tokens


def measure(options: argparse.Namespace, say: Say) -> Findings:
    questions = open_questions()[: options.prompts]
    with open_reasoner(options) as reasoner:
        info = reasoner.engine.info
        bare = Bare(
            model_file(reasoner.bundle),
            context=info["num_cells"],
            threads=options.threads,
            max_seqs=info["max_seqs"],
        )
        with contextlib.closing(bare):
            references = []
            found: dict[str, list[Difference]] = {"alone": [], "in a batch": []}
            for index, question in enumerate(questions):
                say(f"prompt {index + 1} of {len(questions)}")
                reference = bare.greedy(
                    reasoner.prompt_tokens(question, thinking=False), options.tokens
                )
                references.append(reference)
                alone = _ours(reasoner, question, options.tokens)
                with _company(reasoner, options.others, options.tokens, options.seed + index):
                    together = _ours(reasoner, question, options.tokens)
                for name, tokens in (("alone", alone), ("in a batch", together)):
                    difference = first_difference(index, reference, tokens)
                    found[name] += [] if difference is None else [difference]
            say("how far libllama's own batch moves the margins")
            explained = {
                name: [_explained(bare, each, references, options.others) for each in differences]
                for name, differences in found.items()
            }
    num_tokens = sum(len(reference.tokens) for reference in references)
    return _findings(options, len(questions), num_tokens, explained)


def _explained(
    bare: Bare, difference: Difference, references: Sequence[Reference], num_others: int
) -> Difference:
    others = [references[(difference.prompt + 1 + i) % len(references)] for i in range(num_others)]
    shift = bare.largest_shift(references[difference.prompt], others)
    return replace(difference, shift=shift)


def _findings(
    options: argparse.Namespace,
    num_prompts: int,
    num_tokens: int,
    differences: dict[str, list[Difference]],
) -> Findings:
    figures = {
        "num_prompts": num_prompts,
        "num_tokens": num_tokens,
        "others": options.others,
        "runs": {
            name: {
                "num_equal": num_prompts - len(found),
                "differences": [asdict(difference) for difference in found],
            }
            for name, found in differences.items()
        },
    }
    rows = [
        (name, f"{num_prompts - len(found)} of {num_prompts}", _largest_margin(found))
        for name, found in differences.items()
    ]
    firsts = [
        (name, d.prompt, d.position, d.margin, d.shift)
        for name, found in differences.items()
        for d in found
    ]
    tables = [
        Table(
            f"Equal to libllama's greedy loop, {num_tokens} tokens",
            ("ours", "prompts equal", "largest margin at a first difference"),
            rows,
        )
    ]
    if firsts:
        tables.append(
            Table(
                "First differences: margin of the two likeliest logits there, and how far "
                "libllama's own batch moves margins of this prompt",
                ("ours", "prompt", "position", "margin", "libllama's shift"),
                firsts,
            )
        )
    return Findings(figures, tuple(tables))


def _largest_margin(differences: Sequence[Difference]) -> float | None:
    return max((d.margin for d in differences if d.margin is not None), default=None)


def _add_options(parser: argparse.ArgumentParser) -> None:
    most = len(open_questions())
    parser.add_argument("--prompts", type=int, default=most, help=f"at most {most}")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer at most")
    parser.add_argument("--others", type=int, default=7, help="requests beside it in the batch")
    parser.add_argument("--threads", type=int, default=1, help="of libllama's loop")


BENCH = Bench("parity", __doc__.splitlines()[0], _add_options, measure)

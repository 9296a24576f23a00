"""Does the scheduler change a token? Greedy `no-think` against libllama's own greedy loop.

The same rendered prompt goes through `Reasoner`, alone and with other requests in its batch, and
through llama_decode and an argmax, one row at a time. A batch changes the last bits of the logits:
each difference comes with the margin between the two likeliest tokens where it begins, and with how
far libllama's own batch moves such margins.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy

from edgereason.models.bundle import model_file
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner
from ..harness.speed import stay_on
from ..rivals.libllama import Floats, Libllama


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


def greedy(bare: Libllama, prompt: Sequence[int], num: int) -> Reference:
    """Up to `num` tokens after `prompt`, up to the first that ends generation."""
    bare.clear()
    tokens: list[int] = []
    rivals: list[tuple[int, int]] = []
    margins: list[float] = []
    rows, pos = list(prompt), 0
    while len(tokens) < num:
        logits = bare.decode([(0, pos + i, token) for i, token in enumerate(rows)])[0]
        pos += len(rows)
        token = int(logits.argmax())
        second = int(numpy.argpartition(logits, -2)[-2])
        rivals.append((token, second))
        margins.append(float(logits[token] - logits[second]))
        if bare.ends(token):
            break
        tokens.append(token)
        rows = [token]
    return Reference(tuple(prompt), tuple(tokens), tuple(rivals), tuple(margins))


def largest_shift(bare: Libllama, reference: Reference, others: Sequence[Reference]) -> float:
    """How far the margins of `reference` move when `others` share its batches."""
    bare.clear()
    lines = [reference, *others]
    for seq, line in enumerate(lines):
        first = bare.decode([(seq, pos, token) for pos, token in enumerate(line.prompt)])[0]
        if seq == 0:
            shifts = [_shift(reference, 0, first)]
    for at, token in enumerate(reference.tokens[: len(reference.margins) - 1]):
        rows = [(0, len(reference.prompt) + at, token)]
        rows += [
            (seq, len(line.prompt) + at, line.tokens[at % len(line.tokens)])
            for seq, line in enumerate(lines)
            if seq > 0
        ]
        shifts.append(_shift(reference, at + 1, bare.decode(rows)[0]))
    return max(shifts)


def _shift(reference: Reference, at: int, logits: Floats) -> float:
    best, second = reference.rivals[at]
    return abs(float(logits[best] - logits[second]) - reference.margins[at])


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
        bare = Libllama(
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
                reference = greedy(
                    bare, reasoner.prompt_tokens(question, thinking=False), options.tokens
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
    bare: Libllama, difference: Difference, references: Sequence[Reference], num_others: int
) -> Difference:
    others = [references[(difference.prompt + 1 + i) % len(references)] for i in range(num_others)]
    shift = largest_shift(bare, references[difference.prompt], others)
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

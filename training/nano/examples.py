"""From a problem to what the model reads and what of it it is to write itself.

Ways to reply: think in full, think within n tokens (HBPO's sentence), choose (AutoThink's
ellipsis), do not think, or answer from a thought that was cut.
Knows the chat format, not the model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokenizers import Tokenizer

from edgereason.bench.tasks import chain, iterate, operator, reach
from edgereason.bench.tasks.base import Problem, Split
from edgereason.prompt.reasoning import FINAL_CUE

OPEN: Final = "<think>\n"
SHUT: Final = "\n</think>\n\n"
ELLIPSIS: Final = "...\n"
SENTENCE: Final = "I will answer the question within {} tokens.\n"
BUDGETS: Final = (16, 32, 64, 128, 256)
EASY_STEPS: Final = 3  # with the ellipsis, a way of so few steps is not written down

Generate = Callable[[random.Random, Split], Problem]
TASKS: Final[Mapping[str, Generate]] = {
    "chain": chain.generate,
    "iterate": iterate.generate,
    "operator": operator.generate,
    "reach": reach.generate,
}
CHECKS: Final = {
    "chain": chain.check,
    "iterate": iterate.check,
    "operator": operator.check,
    "reach": reach.check,
}


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    learned: bool  # the model writes it; else it is given, by the user or by the runtime


@dataclass(frozen=True, slots=True)
class Example:
    tokens: tuple[int, ...]
    learned: tuple[bool, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)


def prompt(question: str) -> str:
    """What the chat template makes of one question."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def opening(mode: str, budget: int = 0) -> str:
    """What stands after the prompt before the model writes; "" where it begins by itself."""
    return {
        "think": "",
        "budget": OPEN + SENTENCE.format(budget),
        "auto": OPEN + ELLIPSIS,
        "none": OPEN + SHUT,
    }[mode]


def thoughts(problem: Problem) -> list[str]:
    """Ways to think, from the longest to the shortest: steps, notes, every 2nd, every 4th note.

    The last note always stays: it is the answer.
    """
    notes = problem.notes
    shorter = ["\n".join(notes[::-1][::stride][::-1]) for stride in (1, 2, 4)]
    return ["\n".join(problem.steps), *shorter]


def reply(
    problem: Problem, mode: str, budget: int, rng: random.Random, tokenizer: Tokenizer
) -> list[Piece]:
    end = Piece(problem.answer + "<|im_end|>", True)
    if mode == "cut":
        kept = problem.steps[: rng.randrange(len(problem.steps))]
        cue, space = (FINAL_CUE, " ") if rng.random() < 0.5 else ("", "")
        given = Piece(OPEN + "\n".join(kept) + SHUT + cue, False)
        return [given, Piece(f"{space}{problem.answer}<|im_end|>", True)]
    given = Piece(opening(mode, budget), False)
    if mode == "none" or (mode == "auto" and len(problem.steps) <= EASY_STEPS):
        shut = [] if mode == "none" else [Piece("</think>\n\n", True)]
        return [given, *shut, end]
    thought = thoughts(problem)[0]
    if mode == "budget":
        fits = (t for t in thoughts(problem) if len(tokenizer.encode(t).ids) <= budget)
        thought = next(fits, "")
    begin = [Piece(OPEN, True)] if mode == "think" else []
    return [given, *begin, Piece(thought, True), Piece(SHUT, True), end]


def encode(pieces: Sequence[Piece], tokenizer: Tokenizer) -> Example:
    """Each piece by itself, as the runtime does with what it forces between what is sampled."""
    tokens: list[int] = []
    learned: list[bool] = []
    for piece in pieces:
        ids = tokenizer.encode(piece.text).ids if piece.text else []
        tokens += ids
        learned += [piece.learned] * len(ids)
    return Example(tuple(tokens), tuple(learned))


def draw(
    step: int,
    *,
    seed: int,
    num: int,
    tokenizer: Tokenizer,
    tasks: Mapping[str, float],
    modes: Mapping[str, float],
) -> list[Example]:
    """The examples of a training step, the same whenever and wherever it is drawn."""
    rng = random.Random(f"base:{seed}:{step}")
    return [_one(rng, tokenizer, tasks, modes) for _ in range(num)]


def _one(
    rng: random.Random,
    tokenizer: Tokenizer,
    tasks: Mapping[str, float],
    modes: Mapping[str, float],
) -> Example:
    """Of a task and a mode drawn by their weights."""
    task = rng.choices(list(tasks), list(tasks.values()))[0]
    mode = rng.choices(list(modes), list(modes.values()))[0]
    problem = TASKS[task](rng, "train")
    pieces = reply(problem, mode, rng.choice(BUDGETS), rng, tokenizer)
    return encode([Piece(prompt(problem.question), False), *pieces], tokenizer)

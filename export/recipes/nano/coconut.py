"""Coconut (2412.06769): written steps are replaced by latent ones, a stage at a time.

prompt <|start-latent|> k latents <|end-latent|> remaining steps # answer

First the base learns to find facts, then to reason in writing from few and then from many.
Stage s replaces the first s steps by s latents; after the last stage no step is left. Loss only on
what is to be written, gradients through every latent step. Each stage begins with a fresh
optimizer. Beside the latent questions some are answered in writing and some at once, so that one
model can do all three; the questions about one graph share the pass over its facts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from edgereason.bench.tasks import reach
from edgereason.bench.tasks.base import Problem
from tokenizers import Tokenizer
from torch import Tensor

from .examples import OPEN, SHUT, Example, Piece, encode, prompt
from .latent import Feed, feed_back, grow, pad_front, seen
from .model import Cache, Nano
from .tokenizer import PHRASES
from .train import cross_entropy, padded

START: Final = "<|start-latent|>"
END: Final = "<|end-latent|>"
CONTROLS: Final = (START, "<|latent|>", END)
MAX_STAGE: Final = 6
FEW: Final = 200  # steps of reciting three facts, after which one comes on in every so many:
ONE_MORE: Final = 4
GROWING: Final = 300  # steps of stage 0 in which the graphs grow
VARIANT: Final = {"kind": "coconut", "latents": MAX_STAGE, "start": START, "end": END, "mark": "#"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a sheet, and what the model is to write after it and `given`."""

    question: tuple[int, ...]
    given: tuple[int, ...]
    written: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Facts and the questions about them; `latent` ones think `num_latents` steps first."""

    facts: tuple[int, ...]
    plain: tuple[Asked, ...]
    latent: tuple[Asked, ...]
    num_latents: int

    @property
    def num_tokens(self) -> int:
        asked = (*self.plain, *self.latent)
        rows = sum(len(a.question) + len(a.given) + len(a.written) for a in asked)
        return len(self.facts) + rows + self.num_latents * len(self.latent)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Questions of a sheet: thought in latents, thought in writing, answered at once."""

    latent: int = 6
    think: int = 3
    none: int = 1


def recite(step: int, *, seed: int, tokens: int, tokenizer: Tokenizer) -> list[Example]:
    """Facts, and the same again in another order: what each of them says has to be found, which
    all else builds on. About `tokens` tokens in all.
    """
    rng = random.Random(f"recite:{seed}:{step}")
    most = 3 + max(0, step - FEW) // ONE_MORE
    examples: list[Example] = []
    while tokens > 0:
        num = min(36, rng.randint(max(2, most // 2), most))
        who = rng.sample(reach.SPECIES, num)
        facts = [f"Every {name} is a {rng.choice(reach.SPECIES)}." for name in who]
        pieces = [Piece(prompt(" ".join(rng.sample(facts, num))), False)]
        for fact in rng.sample(facts, num):
            start, _, found = fact.rpartition(" a ")
            pieces += [Piece(f"{start} a ", False), Piece(found.rstrip("."), True)]
            pieces.append(Piece(". ", False))
        examples.append(encode(pieces, tokenizer))
        tokens -= examples[-1].num_tokens
    return examples


def remaining(problem: Problem, stage: int) -> str:
    """Stage `MAX_STAGE + 1` drops every step that is left, however many there were."""
    kept = () if stage > MAX_STAGE else problem.steps[stage:]
    return "".join(f"{step}\n" for step in kept) + f"# {problem.answer}<|im_end|>"


def draw(
    step: int, *, seed: int, stage: int, num: int, tokenizer: Tokenizer, mixture: Mixture
) -> list[Sheet]:
    """Stage 0 has no latents: its latent questions are thought in writing as well."""
    rng = random.Random(f"coconut:{seed}:{stage}:{step}")
    share = min(1.0, step / GROWING) if stage == 0 else 1.0
    num_questions = mixture.latent + mixture.think + mixture.none
    drawn = [reach.sheet(rng, num_questions, share) for _ in range(num)]
    return [sheet_of(facts, asked, stage, tokenizer, mixture) for facts, asked in drawn]


def sheet_of(
    facts: str, problems: Sequence[Problem], stage: int, tokenizer: Tokenizer, mixture: Mixture
) -> Sheet:
    whole = prompt(problems[0].question)
    shared = tokenizer.encode(whole[: whole.index(facts) + len(facts) - 1]).ids

    def asked(problem: Problem, start: str, given: str, written: str) -> Asked:
        ids = tokenizer.encode(prompt(problem.question) + start).ids
        assert ids[: len(shared)] == shared
        return Asked(
            question=tuple(ids[len(shared) :]),
            given=tuple(tokenizer.encode(given).ids),
            written=tuple(tokenizer.encode(written).ids),
        )

    def thought(problem: Problem) -> Asked:
        steps = "\n".join(problem.steps)
        return asked(problem, "", "", f"{OPEN}{steps}{SHUT}{problem.answer}<|im_end|>")

    rest = iter(problems)
    latent = [next(rest) for _ in range(mixture.latent)]
    plain = [thought(next(rest)) for _ in range(mixture.think)]
    plain += [asked(p, "", OPEN + SHUT, p.answer + "<|im_end|>") for p in rest]
    if stage == 0:
        return Sheet(tuple(shared), (*map(thought, latent), *plain), (), 0)
    silent = tuple(asked(p, START, END, remaining(p, stage)) for p in latent)
    return Sheet(tuple(shared), tuple(plain), silent, min(stage, MAX_STAGE))


def loss_of(
    model: Nano, batch: Sequence[Sheet], feed: Feed = lambda state: state
) -> tuple[Tensor, int]:
    """Summed over the tokens that are to be written, and their number."""
    ids, real = (each.to(model.device) for each in pad_front([s.facts for s in batch]))
    _, cache = model(model.embed(ids), mask=seen(real, ids.shape[1]))
    total, num = torch.zeros((), device=model.device), 0
    for groups, num_latents in (
        ([s.plain for s in batch], 0),
        ([s.latent for s in batch], batch[0].num_latents),
    ):
        rows = [asked for group in groups for asked in group]
        if rows:
            owner = torch.tensor([i for i, group in enumerate(groups) for _ in group])
            owner = owner.to(model.device)
            shared = [(k[owner], v[owner]) for k, v in cache]
            loss, count = _loss(model, rows, (shared, real[owner]), num_latents, feed)
            total, num = total + loss, num + count
    return total, num


def _loss(
    model: Nano,
    rows: Sequence[Asked],
    past: tuple[Cache, Tensor],
    num_latents: int,
    feed: Feed,
) -> tuple[Tensor, int]:
    """Of questions whose facts are in the cache. They are all of one length, `given` as well."""
    cache, real = past
    before = [a.given for a in rows]
    if num_latents:
        questions = torch.tensor([a.question for a in rows]).to(model.device)
        length = questions.shape[1]
        real = grow(real, length)
        hidden, cache = model(model.embed(questions), cache, seen(real, length))
        _, cache, real = feed_back(model, (hidden[:, -1:], cache, real), num_latents, feed)
    else:
        before = [a.question + a.given for a in rows]
    ids = padded([b + a.written for b, a in zip(before, rows, strict=True)])
    learned = padded(
        [[0] * len(b) + [1] * len(a.written) for b, a in zip(before, rows, strict=True)]
    )
    length = ids.shape[1] - 1
    embeds = model.embed(ids[:, :-1].to(model.device))
    hidden, _ = model(embeds, cache, seen(grow(real, length), length))
    return cross_entropy(model, hidden, ids, learned)


def begin(model: Nano, tokenizer: Tokenizer) -> None:
    """New rows for all words of `reach`, as different from each other as the digits are.

    Rows of tokens that a training never saw are pushed the same way by all others, until a norm
    leaves next to nothing of what sets them apart; facts about them are then never found.
    """
    words = [reach.SPECIES, reach.PERSONS, CONTROLS, PHRASES]
    new = sorted({tokenizer.encode(word).ids[0] for group in words for word in group})
    digits = [tokenizer.token_to_id(str(digit)) for digit in range(10)]
    with torch.no_grad():
        rows = model.model.embed_tokens.weight
        middle = rows[digits].mean(0)
        spread = (rows[digits] - middle).square().mean().sqrt()
        rows[new] = middle + spread * torch.randn(len(new), rows.shape[1])

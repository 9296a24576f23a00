"""Coconut (2412.06769): written steps are replaced by latent ones, a stage at a time.

prompt <|start-latent|> k latents <|end-latent|> remaining steps # answer

The base first learns to find facts, then to reason in writing, then in latents: stage s replaces
the first s steps by s latents, the last one all. Gradients flow through every latent step. Unlike
the paper, a step of the training draws its stage, new ones more often; graphs grow; thoughts are
told at first what to hold (`thoughts.py`); and some questions are answered in writing or at once,
so that one model can do all three. Questions about one graph share the pass over its facts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgereason.bench.tasks import reach
from edgereason.bench.tasks.base import Problem

from .examples import OPEN, SHUT, Example, Piece, encode, prompt
from .latent import Feed, feed_back, grow, pad_front, seen
from .model import Cache, Nano
from .thoughts import Guide, Hop, Near, followers, hop_loss, hops, near
from .tokenizer import PHRASES
from .train import cross_entropy, padded

START: Final = "<|start-latent|>"
END: Final = "<|end-latent|>"
CONTROLS: Final = (START, "<|latent|>", END)
MAX_STAGE: Final = 6
HOPS: Final = 32  # a sheet
FEW: Final = 200  # steps of reciting three facts, after which one comes on in every so many:
ONE_MORE: Final = 4
GROWING: Final = 300  # steps of stage 0 in which the graphs grow
# Shares of the steps with latents:
A_STAGE: Final = 0.025  # after which the next stage comes on
GROWN: Final = 0.25  # after which graphs are whole
SHOWN: Final = 0.15  # in which all thoughts are shown
ALONE: Final = 0.45  # after which none is
NAMED: Final = 0.85  # in which thoughts are told what to hold
VARIANT: Final = {"kind": "coconut", "latents": MAX_STAGE, "start": START, "end": END, "mark": "#"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a sheet, and what the model is to write after it and `given`."""

    question: tuple[int, ...]
    given: tuple[int, ...]
    written: tuple[int, ...]
    near: Near = ()  # what its thoughts are to name; nothing: whatever serves the answer
    shown: tuple[bool, ...] = ()  # thoughts that are replaced by what they ought to be


@dataclass(frozen=True, slots=True)
class Sheet:
    """Facts and the questions about them; `latent` ones think `num_latents` steps first."""

    facts: tuple[int, ...]
    plain: tuple[Asked, ...]
    latent: tuple[Asked, ...]
    num_latents: int
    hops: tuple[Hop, ...] = ()

    @property
    def num_tokens(self) -> int:
        asked = (*self.plain, *self.latent)
        rows = sum(len(a.question) + len(a.given) + len(a.written) for a in asked)
        return len(self.facts) + rows + self.num_latents * len(self.latent) + 2 * len(self.hops)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Questions of a sheet: thought in latents, thought in writing, answered at once."""

    latent: int
    think: int
    none: int


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
    steps = "".join(f"{step}\n" for step in problem.steps[stage:])
    return f"{steps}# {problem.answer}<|im_end|>"


def draw_written(step: int, *, seed: int, num: int, tokenizer: Tokenizer) -> list[Sheet]:
    """Stage 0: nine questions of ten are thought in writing; the graphs grow."""
    rng = random.Random(f"coconut:{seed}:0:{step}")
    share = min(1.0, step / GROWING)
    drawn = [reach.sheet(rng, 10, share) for _ in range(num)]
    return [sheet_of(facts, asked, 0, tokenizer, Mixture(0, 9, 1)) for facts, asked in drawn]


def draw_latent(step: int, *, seed: int, num: int, tokenizer: Tokenizer, steps: int) -> list[Sheet]:
    """Stages 1 to 6 at `step` of `steps`: the graphs grow again, for thoughts have to learn anew to
    find facts; then fewer thoughts are shown, and at last none is told what to hold.
    """
    rng = random.Random(f"coconut:{seed}:latent:{step}")
    done = step / steps
    share = min(1.0, 0.3 + 0.7 * done / GROWN)
    newest = min(MAX_STAGE, 1 + int(done / A_STAGE))
    stage = newest if rng.random() < 0.5 else rng.randint(1, newest)
    shown = min(1.0, max(0.0, (ALONE - done) / (ALONE - SHOWN)))
    mixture = Mixture(7, 1, 1)
    sheets = []
    for _ in range(round(num / (0.4 + 0.6 * share))):
        facts, asked = reach.sheet(rng, 9, share, persons=0.5 if done < NAMED else 1.0)
        sheet = sheet_of(facts, asked, stage, tokenizer, mixture)
        if done < NAMED:
            sheet = _told(rng, sheet, followers(facts), asked, shown=shown, tokenizer=tokenizer)
        sheets.append(sheet)
    return sheets


def draw_alone(step: int, *, seed: int, num: int, tokenizer: Tokenizer) -> list[Sheet]:
    """Nothing but answers and remaining steps, of more questions about each graph."""
    rng = random.Random(f"coconut:{seed}:alone:{step}")
    stage = MAX_STAGE if rng.random() < 0.65 else rng.randint(1, MAX_STAGE)
    drawn = [reach.sheet(rng, 13) for _ in range(num)]
    return [sheet_of(facts, asked, stage, tokenizer, Mixture(11, 1, 1)) for facts, asked in drawn]


def _told(
    rng: random.Random,
    sheet: Sheet,
    follows: Mapping[str, Sequence[str]],
    problems: Sequence[Problem],
    *,
    shown: float,
    tokenizer: Tokenizer,
) -> Sheet:
    """What the thoughts are to hold, and exercises in going on from several nodes at once."""
    latent = [
        replace(
            asked,
            near=near(follows, problem.answer.split()[0], MAX_STAGE, tokenizer),
            shown=tuple(rng.random() < shown for _ in range(MAX_STAGE)),
        )
        for asked, problem in zip(sheet.latent, problems, strict=False)
    ]
    return replace(sheet, latent=tuple(latent), hops=hops(rng, follows, HOPS, tokenizer))


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
    silent = tuple(asked(p, START, END, remaining(p, stage)) for p in latent)
    return Sheet(tuple(shared), tuple(plain), silent, stage)


def loss_of(
    model: Nano, batch: Sequence[Sheet], feed: Feed = lambda state: state
) -> tuple[Tensor, int]:
    """Summed over the tokens that are to be written, and their number; what thoughts are told to
    hold is added to the sum.
    """
    ids, real = (each.to(model.device) for each in pad_front([s.facts for s in batch]))
    _, cache = model(model.embed(ids), mask=seen(real, ids.shape[1]))

    def behind(groups: Sequence[Sequence[object]]) -> tuple[Cache, Tensor]:
        owner = torch.tensor([i for i, group in enumerate(groups) for _ in group])
        owner = owner.to(model.device)
        return [(k[owner], v[owner]) for k, v in cache], real[owner]

    total, num = torch.zeros((), device=model.device), 0
    for groups, num_latents in (
        ([s.plain for s in batch], 0),
        ([s.latent for s in batch], batch[0].num_latents),
    ):
        rows = [asked for group in groups for asked in group]
        if rows:
            guide = Guide(model, [a.near for a in rows], [a.shown for a in rows], feed)
            loss, count = _loss(model, rows, behind(groups), num_latents, guide)
            total, num = total + loss + guide.loss(), num + count
    all_hops = [s.hops for s in batch]
    flat = [hop for group in all_hops for hop in group]
    if flat:
        start = batch[0].latent[0].question[-1]
        total = total + hop_loss(model, start, flat, behind(all_hops))
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


def meet(model: Nano, before: Mapping[str, Tensor]) -> None:
    """Halfway between the weights `before` the last run and after it, which is better than both:
    what each happened to learn last cancels out (1803.05407, stochastic weight averaging).
    """
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.lerp_(before[name], 0.5)

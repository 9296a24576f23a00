"""How often a nano model is right, mode by mode, on test problems: greedy, batched, in torch.

A mode is `none`, `think`, `auto`, `budget:32` (the sentence only, nothing is cut) or `latent:6`,
the last also as `latent:6:zeroed` or `latent:6:shuffled`. Knows nothing of the runtime.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import torch
from tokenizers import Tokenizer

from edgereason.bench.harness.runner import wilson
from edgereason.bench.tasks.base import Problem
from edgereason.errors import BundleError, UsageError

from . import coconut, latent
from .examples import CHECKS, TASKS, opening, prompt
from .model import Nano

MODES: Final = "none, think, auto, budget:N, latent:N, latent:N:zeroed, latent:N:shuffled"
MODE: Final = re.compile(r"none|think|auto|budget:\d+|latent:\d+(:zeroed|:shuffled)?")


@dataclass(frozen=True, slots=True)
class Score:
    """`low` and `high`: Wilson's 95 % interval. `tokens`: written for a question, on average."""

    task: str
    mode: str
    num: int
    accuracy: float
    low: float
    high: float
    tokens: float


def write(
    model: Nano,
    prompts: Sequence[Sequence[int]],
    stop: int,
    *,
    num_latents: int = 0,
    feed: latent.Feed = lambda state: state,
    forced: int | None = None,
) -> list[list[int]]:
    """Greedy continuations up to `stop` or the context's end; `forced` comes after the latents."""
    state, cache, real = latent.think(model, prompts, num_latents, feed)
    if forced is not None:
        real = latent.grow(real, 1)
        ids = torch.full((len(prompts), 1), forced, device=model.device)
        state, cache = model(model.embed(ids), cache, latent.seen(real, 1))
    out: list[list[int]] = [[] for _ in prompts]
    alive = set(range(len(prompts)))
    for _ in range(model.shape.context - real.shape[1]):
        ids = model.logits(state[:, -1]).argmax(dim=-1, keepdim=True)
        chosen = ids[:, 0].tolist()
        for row in list(alive):
            out[row].append(chosen[row])
            if chosen[row] == stop:
                alive.discard(row)
        if not alive:
            break
        real = latent.grow(real, 1)
        state, cache = model(model.embed(ids), cache, latent.seen(real, 1))
    return out


def token(tokenizer: Tokenizer, text: str) -> int:
    """The id of a control token."""
    found: int | None = tokenizer.token_to_id(text)
    if found is None:
        raise BundleError(f"the tokenizer has no token {text}; is this a model of the nano family?")
    return found


def ask(
    model: Nano, tokenizer: Tokenizer, problems: Sequence[Problem], mode: str
) -> list[list[int]]:
    kind, _, rest = mode.partition(":")
    if not MODE.fullmatch(mode):
        raise UsageError(f"no mode called {mode!r}; known: {MODES}")
    stop = token(tokenizer, "<|im_end|>")
    if kind == "latent":
        count, _, control = rest.partition(":")
        feeds = {"": lambda s: s, "zeroed": latent.zeroed, "shuffled": latent.shuffled}
        texts = [prompt(p.question) + coconut.START for p in problems]
        forced = token(tokenizer, coconut.END)
        given = [tokenizer.encode(text).ids for text in texts]
        return write(model, given, stop, num_latents=int(count), feed=feeds[control], forced=forced)
    begun = tokenizer.encode(opening_of(mode)).ids
    given = [tokenizer.encode(prompt(p.question)).ids + begun for p in problems]
    return write(model, given, stop)


def opening_of(mode: str) -> str:
    kind, _, rest = mode.partition(":")
    return "" if kind == "latent" else opening(kind, int(rest or 0))


def answer_in(text: str) -> str:
    """What follows the thinking; nothing where it never ends. `text`: the opening and the reply."""
    if "<think>" in text and "</think>" not in text:
        return ""
    return text.rpartition("</think>")[2].removesuffix("<|im_end|>").strip()


def score(
    model: Nano,
    tokenizer: Tokenizer,
    task: str,
    mode: str,
    *,
    num: int = 500,
    batch: int = 100,
    seed: int = 0,
) -> Score:
    rng = random.Random(f"evaluate:{seed}:{task}")
    problems = sorted((TASKS[task](rng, "test") for _ in range(num)), key=lambda p: len(p.question))
    right = tokens = 0
    for start in range(0, num, batch):
        some = problems[start : start + batch]
        with torch.inference_mode():
            replies = ask(model, tokenizer, some, mode)
        for problem, ids in zip(some, replies, strict=True):
            text = opening_of(mode) + tokenizer.decode(ids, skip_special_tokens=False)
            right += CHECKS[task](problem, answer_in(text))
            tokens += len(ids)
    low, high = wilson(right, num)
    return Score(task, mode, num, right / num, round(low, 4), round(high, 4), tokens / num)


def table(scores: Sequence[Score]) -> str:
    lines = [f"{'task':8} {'mode':16} {'right':>6} {'95 % interval':>15} {'tokens':>7}"]
    for s in scores:
        span = f"{100 * s.low:.1f}-{100 * s.high:.1f}"
        lines.append(f"{s.task:8} {s.mode:16} {100 * s.accuracy:6.1f} {span:>15} {s.tokens:7.1f}")
    return "\n".join(lines)


def as_json(scores: Sequence[Score]) -> list[dict[str, object]]:
    return [asdict(s) for s in scores]

"""The latent loop against torch, and what a latent step costs against one of a token.

A model goes to GGUF f16 and ONNX f32. Each side thinks on its own: it feeds
its own hidden states back, so that differences add up as in use. Needs the extra `parity`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgereason.errors import UsageError
from edgereason.export.job import Job, export
from edgereason.models.variants.coconut import Variant
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.lowering import prompt_tokens
from edgereason.records import Message, Segment

from ..harness.exports import open_engine
from ..harness.runner import Bench, Findings, Say, Table, ratios, turns
from ..harness.torch_models import Floats, Torch, in_torch, require_torch
from ..tasks import reach

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

FORMS: Final = {"gguf": "f16", "onnx": "f32"}
_COLUMNS: Final = ("form", "step", "largest difference of hidden states", "of logits")
_COST: Final = ("form", "token, ms", "latent, ms", "ratio")


@dataclass(frozen=True, slots=True)
class Step:
    """Largest differences to torch over all prompts; step 0 is the prompt's last row."""

    hidden: float
    logits: float


@dataclass(frozen=True, slots=True)
class Cost:
    token_ms: float
    latent_ms: float
    ratio: float  # median of pairs, measured in turns


def measure(options: argparse.Namespace, say: Say) -> Findings:
    require_torch()
    source, torch = in_torch(options.model)
    steps: dict[str, list[Step]] = {}
    costs: dict[str, Cost] = {}
    for target, quant in FORMS.items():
        form = f"{target} {quant}"
        say(form)
        with tempfile.TemporaryDirectory() as out:
            bundle = export(source, Job(target, Path(out) / "bundle", {"quant": quant})).bundle
            engine = open_engine(bundle)
            engine.set_threads(1)
            prompts = _prompts(bundle, engine, options)
            steps[form] = against(engine, torch, prompts, options.latents)
            costs[form] = cost(engine, prompts[0], options.steps, say)
            del engine
    return _findings(steps, costs)


def against(
    engine: Engine, torch: Torch, prompts: Sequence[Sequence[int]], latents: int
) -> list[Step]:
    """Both think `latents` steps about every prompt."""
    hidden, logits = np.zeros((2, latents + 1))
    for tokens in prompts:
        rows = torch.embeddings(tokens)
        fed: list[Any] = list(tokens)
        for step in range(latents + 1):
            state, said = _read(engine, fed, 0 if step == 0 else len(fed) - 1)
            wanted_logits, wanted = (found[-1] for found in torch.of_embeddings(rows))
            hidden[step] = max(hidden[step], np.abs(state - wanted).max())
            logits[step] = max(logits[step], np.abs(said - wanted_logits).max())
            rows = np.concatenate([rows, wanted[None]])
            fed.append(state)
        engine.drop(0)
    return [Step(float(h), float(s)) for h, s in zip(hidden, logits, strict=True)]


def cost(engine: Engine, prompt: Sequence[int], num: int, say: Say) -> Cost:
    """A step of one row at the same place, with a token and with a state, in turns."""
    last = len(prompt) - 1
    state, _ = _read(engine, prompt, 0)

    def timed(what: int | Floats) -> float:
        output: Any = True if isinstance(what, int) else "hidden"  # as the scheduler asks
        began = time.perf_counter()
        engine.decode([(0, last + 1, what, output)])
        ms = (time.perf_counter() - began) * 1e3
        engine.trim(0, last + 1)
        return ms

    def quiet(text: str) -> None:
        """A turn takes a millisecond."""

    kinds = {"token": lambda: timed(prompt[-1]), "latent": lambda: timed(state)}
    turns(kinds, num // 10, quiet)  # warm
    found = turns(kinds, num, quiet)
    engine.drop(0)
    ratio = median(ratios(found["latent"], found["token"]))
    return Cost(median(found["token"]), median(found["latent"]), ratio)


def _read(engine: Engine, fed: Sequence[Any], begin: int) -> tuple[Floats, Floats]:
    """State and logits of the last of what is fed, from position `begin` on."""
    most, last, row = engine.info["max_rows"], len(fed) - 1, 0
    for first in range(begin, len(fed), most):
        rows = range(first, min(first + most, len(fed)))
        engine.decode([(0, at, fed[at], at == last) for at in rows])
        row = len(rows) - 1
    state, logits = engine.hidden(row), engine.logits(row)
    if state is None or logits is None:
        raise UsageError("the engine gives no hidden states")
    return state.copy(), logits.copy()


def _prompts(bundle: Bundle, engine: Engine, options: argparse.Namespace) -> list[tuple[int, ...]]:
    """Questions of `reach` as the strategy writes them."""
    start = bundle.variant.start if isinstance(bundle.variant, Variant) else ""
    rng = random.Random(options.seed)
    drawn = [reach.generate(rng).question for _ in range(options.questions)]
    questions = drawn if options.question is None else [options.question]
    return [
        prompt_tokens(
            (
                *thinking_prompt(bundle, [Message("user", question)], None).segments,
                Segment(start),
            ),
            engine,
        )
        for question in questions
    ]


def _findings(steps: dict[str, list[Step]], costs: dict[str, Cost]) -> Findings:
    figures = {
        form: {"steps": [asdict(step) for step in steps[form]], "cost": asdict(costs[form])}
        for form in steps
    }
    rows = [
        (form, i, f"{step.hidden:.2g}", f"{step.logits:.2g}")
        for form, those in steps.items()
        for i, step in enumerate(those)
    ]
    spent = [
        (form, f"{c.token_ms:.3f}", f"{c.latent_ms:.3f}", f"{c.ratio:.3f}")
        for form, c in costs.items()
    ]
    tables = (
        Table("Latent steps against torch", _COLUMNS, rows),
        Table("What a step costs", _COST, spent),
    )
    return Findings(figures, tables, ("llamacpp keeps KV in float16.",))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--latents", type=int, default=6, help="steps of thinking")
    parser.add_argument("--questions", type=int, default=8, help="of `reach`, that are compared")
    parser.add_argument("--question", help="this one instead")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of each kind")


BENCH = Bench("latent", __doc__.splitlines()[0], _options, measure)

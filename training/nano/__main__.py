"""The commands: `python -m edgereason.training.nano --help`."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from edgereason.bench.tasks.base import Split
from edgereason.config import unknown
from edgereason.errors import EdgereasonError, UsageError

from . import coconut as curriculum
from . import evaluate as evaluation
from . import folder
from . import guide as beside
from . import infty as sawtooth
from . import lora as low_rank
from . import tokenizer as vocabulary
from .examples import OPEN, SHUT, TASKS
from .examples import draw as base_examples
from .model import Nano, Shape
from .train import Draw, Loss, Schedule, Trainer, loss_of

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

MODES = ("think", "budget", "none", "cut", "auto")
Out = Annotated[Path, typer.Option(help="folder of the run: checkpoint, log and the model")]
Device = Annotated[str, typer.Option(help="cpu or cuda; by itself cuda where there is one")]
Threads = Annotated[int, typer.Option(help="of torch on the CPU")]
Workers = Annotated[int, typer.Option(help="processes that draw examples ahead")]
Micro = Annotated[int, typer.Option(help="padded tokens that go through the model at once")]


def device_of(name: str) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def mixture(text: str, known: Collection[str] = TASKS, what: str = "task") -> dict[str, float]:
    """ "chain=3,reach=1" -> {"chain": 3.0, "reach": 1.0}"""
    found = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name not in known:
            raise unknown(f"no {what} called", name, known)
        found[name] = positive(weight or "1", name)
    return found


def positive(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise UsageError(f"the weight of {name} must be a number above 0, got {text}")
    return value


@app.command()
def base(
    *,
    out: Out,
    tasks: Annotated[str, typer.Option(help="weights of the tasks")] = "chain=3,iterate=1",
    modes: Annotated[
        str, typer.Option(help="weights of the ways to reply")
    ] = "think=7,budget=6,none=3,cut=2,auto=2",
    steps: int = 20_000,
    examples: Annotated[int, typer.Option(help="examples a step")] = 32,
    lr: float = 3e-3,
    seed: int = 0,
    start: Annotated[str, typer.Option(help="a model to begin with: name or path")] = "",
    device: Device = "",
    threads: Threads = 2,
    workers: Workers = 0,
    micro_tokens: Micro = 4096,
) -> None:
    """Trains the base: thinks or not, in full or within a budget."""
    torch.manual_seed(seed)
    words = vocabulary.build()
    model = (folder.load(start)[0] if start else Nano(Shape())).to(device_of(device))
    draw = partial(
        base_examples,
        seed=seed,
        num=examples,
        tokenizer=words,
        tasks=mixture(tasks),
        modes=mixture(modes, MODES, "way to reply"),
    )
    schedule = Schedule(steps, lr, threads=threads, workers=workers, micro_tokens=micro_tokens)
    Trainer(model, draw, loss_of, schedule=schedule, out=out).run()
    folder.save(model, words, out)


@app.command()
def coconut(
    *,
    out: Out,
    start: Annotated[str, typer.Option(help="the base: name or path")],
    facts: Annotated[int, typer.Option(help="optimizer steps of reciting facts")] = 330,
    first: Annotated[int, typer.Option(help="of stage 0, in which all thought is written")] = 1500,
    steps: Annotated[int, typer.Option(help="of the stages with latents")] = 2400,
    alone: Annotated[int, typer.Option(help="more in which thoughts are told nothing")] = 700,
    examples: Annotated[int, typer.Option(help="graphs a step, ten questions each")] = 8,
    lr: float = 2e-3,
    seed: int = 0,
    device: Device = "",
    threads: Threads = 2,
    workers: Workers = 0,
    micro_tokens: Micro = 2304,
) -> None:
    """Learns `reach`: to find facts, to reason in writing, then in latent steps, stage by stage."""
    torch.manual_seed(seed)
    model, words = folder.load(start)
    curriculum.begin(model, words)
    model.to(device_of(device))

    recite = partial(curriculum.recite, seed=seed, tokens=256 * examples, tokenizer=words)
    written = partial(curriculum.draw_written, seed=seed, num=examples, tokenizer=words)
    latent = partial(curriculum.draw_latent, seed=seed, num=examples, tokenizer=words, steps=steps)
    last = partial(curriculum.draw_alone, seed=seed, num=examples, tokenizer=words)
    runs: list[tuple[str, int, float, Draw[Any], Loss[Any]]] = [
        ("facts", facts, lr, recite, loss_of),
        ("stage-0", first, lr, written, curriculum.loss_of),
        ("latents", steps, lr, latent, curriculum.loss_of),
        ("alone", alone, lr / 2, last, curriculum.loss_of),
    ]
    for name, length, rate, draw, loss in runs:
        schedule = Schedule(
            length, rate, threads=threads, workers=workers, micro_tokens=micro_tokens
        )
        before = {key: weight.clone() for key, weight in model.state_dict().items()}
        Trainer(model, draw, loss, schedule=schedule, out=out / name).run()
        folder.save(model, words, out / name, variant=curriculum.VARIANT)
    curriculum.meet(model, before)
    folder.save(model, words, out, variant=curriculum.VARIANT)


@app.command()
def infty(
    *,
    out: Out,
    start: Annotated[str, typer.Option(help="the base: name or path")],
    steps: int = 600,
    examples: Annotated[int, typer.Option(help="rounds a step")] = 16,
    hard: Annotated[float, typer.Option(help="share of rounds with many close carries")] = 0.0,
    lr: float = 2e-3,
    seed: int = 0,
    device: Device = "",
    threads: Threads = 2,
    workers: Workers = 0,
    micro_tokens: Micro = 768,
) -> None:
    """Learns to walk a long way of `iterate` in rounds that end with a summary."""
    torch.manual_seed(seed)
    model, words = folder.load(start)
    model.to(device_of(device))
    draw = partial(sawtooth.draw, seed=seed, num=examples, tokenizer=words, hard=hard)
    schedule = Schedule(steps, lr, threads=threads, workers=workers, micro_tokens=micro_tokens)
    Trainer(model, draw, loss_of, schedule=schedule, out=out).run()
    folder.save(model, words, out, variant=sawtooth.VARIANT)


@app.command()
def demos(
    *,
    out: Annotated[Path, typer.Option(help="JSON lines: prompt, reply, answer")],
    task: str = "operator",
    num: int = 2000,
    split: Annotated[str, typer.Option(help="train or test")] = "train",
    most_steps: Annotated[int, typer.Option(help="longer ways are left out")] = 100,
    marks: Annotated[
        bool,
        typer.Option(help="the way stands between <think> and </think>, else before the answer"),
    ] = True,
    seed: int = 0,
) -> None:
    """Writes problems with their replies, for `edgereason distill-prefix`, `lora` and benches."""
    if task not in TASKS:
        raise unknown("no task called", task, TASKS)
    if split not in ("train", "test"):
        raise unknown("no split called", split, ("train", "test"))
    part: Split = "test" if split == "test" else "train"
    rng = random.Random(f"demos:{seed}:{task}:{split}")
    with out.open("w", encoding="utf-8") as file:
        for _ in range(num):
            while len((problem := TASKS[task](rng, part)).steps) > most_steps:
                pass
            steps = "\n".join(problem.steps)
            begin, end = (OPEN, SHUT) if marks else ("", "\nThe answer is ")
            reply = f"{begin}{steps}{end}{problem.answer}"
            line = {"prompt": problem.question, "reply": reply, "answer": problem.answer}
            file.write(json.dumps(line) + "\n")


@app.command()
def lora(
    *,
    out: Out,
    start: Annotated[str, typer.Option(help="the base: name or path")],
    demos: Annotated[Path, typer.Option(help="JSON lines with prompt and reply")],
    rank: int = 8,
    steps: int = 500,
    examples: Annotated[int, typer.Option(help="demonstrations a step")] = 16,
    lr: float = 2e-3,
    seed: int = 0,
    device: Device = "",
    threads: Threads = 2,
    micro_tokens: Micro = 768,
) -> None:
    """Teaches a base by demonstrations through LoRA: what a prefix is compared with."""
    torch.manual_seed(seed)
    model, words = folder.load(start)
    low_rank.add(model, rank)
    model.to(device_of(device))
    draw = partial(low_rank.draw, seed=seed, num=examples, examples=low_rank.read(demos, words))
    schedule = Schedule(steps, lr, threads=threads, micro_tokens=micro_tokens)
    trainer = Trainer(
        model, draw, loss_of, schedule=schedule, out=out, optimizers=low_rank.optimizers
    )
    trainer.run()
    low_rank.merge(model)
    folder.save(model, words, out)


@app.command()
def guide(
    *,
    out: Out,
    base: Annotated[str, typer.Option(help="the model that is guided: name or path")],
    demos: Annotated[Path, typer.Option(help="JSON lines with prompt and reply")],
    steps: int = 600,
    examples: Annotated[int, typer.Option(help="demonstrations a step")] = 16,
    lr: float = 3e-3,
    seed: int = 0,
    device: Device = "",
    threads: Threads = 2,
    micro_tokens: Micro = 768,
) -> None:
    """Trains a small model whose logits, added to those of a base, teach it by demonstrations."""
    torch.manual_seed(seed)
    guided, words = folder.load(base)
    model = Nano(beside.SHAPE).to(device_of(device))
    draw = partial(low_rank.draw, seed=seed, num=examples, examples=low_rank.read(demos, words))
    schedule = Schedule(steps, lr, threads=threads, micro_tokens=micro_tokens)
    loss = beside.loss_beside(guided.to(model.device))
    Trainer(model, draw, loss, schedule=schedule, out=out).run()
    folder.save(model, words, out)


@app.command()
def evaluate(
    *,
    model: Annotated[str, typer.Option(help="name or path")],
    tasks: str = "chain,iterate,reach",
    modes: str = "none,think,budget:16,budget:32,budget:64,budget:128,auto",
    num: Annotated[int, typer.Option(help="test problems a task")] = 500,
    device: Device = "",
    threads: Threads = 2,
) -> None:
    """Accuracy by task and mode, with intervals; one JSON object on the last line."""
    torch.set_num_threads(threads)
    net, words = folder.load(model)
    net.to(device_of(device))
    scores = [
        evaluation.score(net, words, task, mode, num=num)
        for task in mixture(tasks)
        for mode in modes.split(",")
    ]
    print(evaluation.table(scores))
    print(json.dumps({"model": model, "scores": evaluation.as_json(scores)}))


if __name__ == "__main__":
    try:
        app()
    except EdgereasonError as error:
        sys.exit(f"error: {error}")

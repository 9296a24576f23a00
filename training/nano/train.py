"""The training loop of the family: Muon and AdamW, cosine schedule, checkpoints, a JSONL log.

A step's examples depend on the seed and the step alone, so a run that was stopped goes on from its
newest checkpoint as if nothing had happened. Knows no task: it is given examples and a loss.
"""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional

from edgereason.errors import UsageError

from .examples import Example
from .model import Nano
from .muon import Muon


@dataclass(frozen=True, slots=True)
class Schedule:
    steps: int
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    save_s: float = 120.0  # seconds between checkpoints
    threads: int = 2
    workers: int = 0  # processes that draw examples ahead; 0: this one, in between
    micro_tokens: int = 4096  # padded tokens that go through the model at once

    def rate(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


class Counted(Protocol):
    @property
    def num_tokens(self) -> int: ...


E = TypeVar("E", bound=Counted)


def batches(examples: Sequence[E], micro_tokens: int) -> list[list[E]]:
    """Neighbours in length together, so that little is padding."""
    out: list[list[E]] = []
    for one in sorted(examples, key=lambda e: e.num_tokens):
        if not out or (len(out[-1]) + 1) * one.num_tokens > micro_tokens:
            out.append([])
        out[-1].append(one)
    return out


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """[batch, longest], zeros behind the short ones."""
    out = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out


def loss_of(model: Nano, batch: Sequence[Example]) -> tuple[Tensor, int]:
    """Summed over the learned tokens, and their number. Padding comes last: nothing sees it."""
    ids = padded([e.tokens for e in batch])
    hidden, _ = model(model.embed(ids[:, :-1].to(model.device)))
    return cross_entropy(model, hidden, ids, padded([e.learned for e in batch]))


class Head(Protocol):
    @property
    def device(self) -> torch.device: ...
    def logits(self, hidden: Tensor) -> Tensor: ...


def cross_entropy(model: Head, hidden: Tensor, ids: Tensor, learned: Tensor) -> tuple[Tensor, int]:
    """Summed over the learned tokens, and their number. A row of `hidden` tells the next token.

    Args:
        hidden: [batch, length - 1, num_embd].
        ids, learned: [batch, length], on the CPU, so that no GPU waits for the choice of rows.
    """
    rows = learned[:, 1:].flatten().nonzero()[:, 0]
    targets = ids[:, 1:].flatten()[rows].to(model.device)
    logits = model.logits(hidden.flatten(0, 1)[rows.to(model.device)])
    return functional.cross_entropy(logits.float(), targets, reduction="sum"), len(rows)


Loss = Callable[[Nano, Sequence[E]], tuple[Tensor, int]]
Optimizers = Callable[[Nano, Schedule], list[torch.optim.Optimizer]]
Draw = Callable[[int], list[E]]


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU. Processors without it need a hundred times as long as for float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def ahead(draw: Draw[E], steps: range, workers: int) -> Iterator[list[E]]:
    """The examples of each step; with workers, drawn by that many processes before their turn."""
    if not workers:
        yield from map(draw, steps)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        todo = deque(pool.submit(draw, step) for step in steps[: 4 * workers])
        for later in itertools.chain(steps[4 * workers :], itertools.repeat(None, len(todo))):
            yield todo.popleft().result()
            if later is not None:
                todo.append(pool.submit(draw, later))


def optimizers(model: Nano, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between the layers, AdamW for embeddings and norms."""
    matrices = [w for w in model.model.layers.parameters() if w.dim() == 2]
    chosen = {id(w) for w in matrices}
    rest = [w for w in model.parameters() if id(w) not in chosen]
    return [
        Muon(matrices, schedule.lr, schedule.weight_decay),
        torch.optim.AdamW(rest, lr=schedule.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class Trainer(Generic[E]):
    """One run: `run()` goes on from `out/checkpoint.pt` where there is one."""

    def __init__(
        self,
        model: Nano,
        draw: Draw[E],
        loss: Loss[E],
        *,
        schedule: Schedule,
        out: Path,
        optimizers: Optimizers = optimizers,
    ) -> None:
        self.model, self.draw, self.loss = model, draw, loss
        self.schedule, self.out = schedule, out
        self.optimizers = optimizers(model, schedule)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        out.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.out / "log.jsonl"

    def run(self) -> None:
        torch.set_num_threads(self.schedule.threads)
        self.model.train()
        saved = time.monotonic()
        with Progress() as progress, self.log.open("a", encoding="utf-8") as log:
            bar = progress.add_task(self.out.name, total=self.schedule.steps, completed=self.step)
            steps = range(self.step, self.schedule.steps)
            for examples in ahead(self.draw, steps, self.schedule.workers):
                line = self.one_step(examples)
                log.write(json.dumps(line) + "\n")
                log.flush()
                progress.update(bar, completed=self.step, description=f"loss {line['loss']:.3f}")
                if time.monotonic() - saved > self.schedule.save_s:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def one_step(self, examples: Sequence[E]) -> dict[str, Any]:
        start = time.monotonic()
        rate = self.schedule.rate(self.step)
        total, num_learned = torch.zeros((), device=self.model.device), 0
        for batch in batches(examples, self.schedule.micro_tokens):
            with autocast(self.model.device):
                loss, count = self.loss(self.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total, num_learned = total + loss.detach(), num_learned + count
        for weight in self.model.parameters():
            if weight.grad is not None:
                weight.grad /= num_learned
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += sum(e.num_tokens for e in examples)
        self.seconds += time.monotonic() - start
        return {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "loss": round(float(total) / num_learned, 4),
            "norm": round(float(norm), 3),
            "lr": round(rate, 6),
        }

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }
        beside = self.checkpoint.with_suffix(".tmp")
        torch.save(state, beside)
        beside.replace(self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.model.device, weights_only=True)
        try:
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (KeyError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{self.checkpoint} is of another model; choose another --out"
            ) from error
        self.step, self.tokens = state["step"], state["tokens"]
        self.seconds = state["seconds"]
        if self.log.exists():  # steps that came after the checkpoint come again
            lines = self.log.read_text("utf-8").splitlines(keepends=True)
            self.log.write_text("".join(lines[: self.step]), "utf-8")

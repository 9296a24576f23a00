"""Trains a ReasonCACHE prefix (2602.02366): the model is frozen, keys and values in front of its
cache learn from demonstrations.

They start as the cache of demonstrations; what is added to them comes from an MLP, which is left
out of the file. A step's demonstrations depend on the seed and the step alone, so a run that was
stopped goes on from its newest checkpoint as if nothing had happened.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgereason.errors import UsageError
from edgereason.models.prefix_file import MAX_POSITIONS, Prefix, read_prefix, write_prefix

from ..offline import Progress
from ..sources.base import Source
from .demos import Example, encode, read_demos
from .torch_decoder import Cache, Decoder

_WIDTH: Final = 256  # of the MLP
_WARMUP: Final = 0.05  # of the steps
_CLIP: Final = 1.0
_SAVE_S: Final = 60.0
_MICRO_TOKENS: Final = 2048  # padded tokens that go through the model at once


@dataclass(frozen=True, slots=True)
class Options:
    slots: int  # positions of the prefix, as users call them
    steps: int = 1000
    lr: float = 1e-2
    batch: int = 16  # demonstrations of a step
    seed: int = 0
    threads: int = 0  # 0: as many as torch takes
    thinking: bool | None = None  # None: where some reply opens a thought
    task: str = ""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("slots", 1, MAX_POSITIONS),
            ("steps", 1, 10**8),
            ("batch", 1, 10**5),
            ("threads", 0, 1024),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} must be {least} to {most}, got {value}")
        if not 0 < self.lr <= 1:
            raise UsageError(f"lr must be above 0 and at most 1, got {self.lr}")

    def rate(self, step: int) -> float:
        """Of a step from 0 on: a short rise, then a cosine down to a twentieth."""
        warmup = max(1, round(_WARMUP * self.steps))
        if step < warmup:
            return self.lr * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        return self.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


class LearnedPrefix(nn.Module):
    """The prefix while it is trained: where it started, plus what an MLP makes of each position, in
    units of the spread of that layer's keys or values."""

    start: Tensor
    spread: Tensor

    def __init__(self, start: Tensor, seed: int) -> None:
        """`start` [layers, 2, kv_heads, positions, head_dim]."""
        super().__init__()
        self.register_buffer("start", start)
        self.register_buffer("spread", start.std(dim=(2, 3, 4), keepdim=True))
        layers, parts, heads, positions, width = start.shape
        draw = torch.Generator().manual_seed(seed)
        self.seeds = nn.Parameter(torch.randn(positions, _WIDTH, generator=draw).to(start.device))
        self.inner = nn.Parameter(
            (torch.randn(_WIDTH, _WIDTH, generator=draw) / _WIDTH**0.5).to(start.device)
        )
        self.outer = nn.Parameter(
            torch.zeros(layers * parts * heads * width, _WIDTH, device=start.device)
        )

    def forward(self) -> list[tuple[Tensor, Tensor]]:
        layers, parts, heads, positions, width = self.start.shape
        inside = torch.tanh(functional.linear(self.seeds, self.inner))
        moved = functional.linear(inside, self.outer) / _WIDTH**0.5
        moved = moved.view(positions, layers, parts, heads, width).permute(1, 2, 3, 0, 4)
        both = self.start + self.spread * moved
        return [(both[i, 0], both[i, 1]) for i in range(layers)]


class Run:
    """One training: everything that a checkpoint holds."""

    def __init__(
        self, decoder: Decoder, examples: Sequence[Example], options: Options, out: Path
    ) -> None:
        self.decoder, self.examples, self.options, self.out = decoder, examples, options, out
        self.prefix = LearnedPrefix(_start(decoder, examples, options), options.seed)
        self.optimizer = torch.optim.AdamW(
            self.prefix.parameters(), lr=options.lr, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.step, self.tokens, self.seconds = 0, 0, 0.0

    @property
    def checkpoint(self) -> Path:
        return self.out.with_name(f"{self.out.name}.checkpoint")

    @property
    def log(self) -> Path:
        return self.out.with_suffix(".jsonl")

    def go(self, identity: str, progress: Progress) -> None:
        """To the last step, from the newest checkpoint where there is one."""
        if self.checkpoint.exists():
            self._load(identity)
        else:
            self.log.write_text("", encoding="utf-8")
        saved = time.monotonic()
        with self.log.open("a", encoding="utf-8") as log:
            while self.step < self.options.steps:
                line = self.one_step()
                log.write(json.dumps(line) + "\n")
                log.flush()
                if time.monotonic() - saved > _SAVE_S or self.step == self.options.steps:
                    self.save(identity)
                    saved = time.monotonic()
                progress("training", self.step, self.options.steps)

    def one_step(self) -> dict[str, Any]:
        began = time.monotonic()
        examples = drawn(self.examples, self.options, self.step)
        num_learned = sum(len(one.tokens) - one.begin for one in examples)
        # The prefix, and what all prompts begin with, go through the model once; each part of the
        # batch adds to their gradient.
        shared = common_start(examples)
        front = self.prefix()
        if shared:
            front = self.decoder.extend(torch.tensor(shared), front)
        ends = [
            (key.detach().requires_grad_(), value.detach().requires_grad_()) for key, value in front
        ]
        total = 0.0
        for batch in batches(examples):
            loss = loss_of(self.decoder, ends, batch, len(shared)) / num_learned
            loss.backward()
            total += float(loss.detach())
        torch.autograd.backward(
            [part for pair in front for part in pair], [part.grad for pair in ends for part in pair]
        )
        norm = nn.utils.clip_grad_norm_(self.prefix.parameters(), _CLIP)
        rate = self.options.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += sum(len(one.tokens) for one in examples)
        self.seconds += time.monotonic() - began
        return {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "loss": round(total, 5),
            "norm": round(float(norm), 4),
            "lr": round(rate, 7),
        }

    def save(self, identity: str) -> None:
        state = {
            "identity": identity,
            "slots": self.prefix.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "at": [self.step, self.tokens, self.seconds],
        }
        beside = self.checkpoint.with_suffix(".tmp")
        torch.save(state, beside)
        os.replace(beside, self.checkpoint)

    def _load(self, identity: str) -> None:
        try:
            state = torch.load(self.checkpoint, map_location=self.decoder.device, weights_only=True)
            found = state["identity"]
        except Exception as error:  # of pickle, zip and torch alike
            raise UsageError(
                f"{self.checkpoint.name} cannot be read: {error}", "remove it to start anew"
            ) from None
        if found != identity:
            raise UsageError(
                f"{self.checkpoint.name} is of another training",
                "give the same options to go on with it, or remove it to start anew",
            )
        self.prefix.load_state_dict(state["slots"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.tokens, self.seconds = state["at"]
        lines = self.log.read_text("utf-8").splitlines(True) if self.log.exists() else []
        self.log.write_text("".join(lines[: self.step]), "utf-8")  # those behind it come again


def distill(
    source: Source, demos: Path, out: Path, options: Options, progress: Progress, *, force: bool
) -> Prefix:
    """Trains and writes `out`, a log beside it and, where matplotlib is there, a plot."""
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "give another --out, or --force to replace it")
    if options.threads:
        torch.set_num_threads(options.threads)
    told, sha256 = read_demos(demos)
    examples = encode(source, told, options.thinking)
    _check_room(examples, options, source)
    decoder = Decoder(source, "cuda" if torch.cuda.is_available() else "cpu")
    run = Run(decoder, examples, options, out)
    run.go(json.dumps([source.base_hash, sha256, asdict(options)]), progress)
    lines = [json.loads(line) for line in run.log.read_text("utf-8").splitlines()]
    with torch.no_grad():
        whole = [(key.cpu().numpy(), value.cpu().numpy()) for key, value in run.prefix()]
    prefix = Prefix(
        out.stem,
        source.base_hash,
        [key for key, _ in whole],
        [value for _, value in whole],
        options.task,
        {
            "demos": len(told),
            "demos_sha256": sha256,
            "steps": run.step,
            "tokens": run.tokens,
            "seconds": round(run.seconds, 1),
            "lr": options.lr,
            "batch": options.batch,
            "seed": options.seed,
            "loss_begin": _mean_loss(lines[: max(1, len(lines) // 20)]),
            "loss": _mean_loss(lines[-max(1, len(lines) // 20) :]),
        },
    )
    write_prefix(prefix, out)
    plot(lines, out.with_suffix(".png"), prefix.name)
    run.checkpoint.unlink(missing_ok=True)
    return read_prefix(out)


def common_start(examples: Sequence[Example]) -> tuple[int, ...]:
    """The tokens that all prompts begin with; what tells the first learned token is not among
    them."""
    first, last = min(examples).tokens, max(examples).tokens
    most = min(one.begin for one in examples) - 1
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return tuple(a for a, _ in itertools.islice(same, most))


def loss_of(decoder: Decoder, front: Cache, batch: Sequence[Example], skip: int) -> Tensor:
    """Summed over the learned tokens. A row's hidden state tells the next token.

    `front` holds the prefix, and behind it the first `skip` tokens of every example.
    """
    longest = max(len(one.tokens) for one in batch) - 1 - skip
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    rows: list[int] = []
    targets: list[int] = []
    for i, one in enumerate(batch):
        num = len(one.tokens) - 1 - skip
        ids[i, :num] = torch.tensor(one.tokens[skip:-1])
        rows += [i * longest + at for at in range(one.begin - 1 - skip, num)]
        targets += one.tokens[one.begin :]
    hidden = decoder.hidden(ids, front, torch.tensor(rows))
    wanted = torch.tensor(targets, device=decoder.device)
    return functional.cross_entropy(decoder.logits(hidden), wanted, reduction="sum")


def drawn(examples: Sequence[Example], options: Options, step: int) -> list[Example]:
    """The demonstrations of a step: each comes once in a round, in another order each round."""
    num = len(examples)
    found: list[Example] = []
    at = step * options.batch
    while len(found) < options.batch:
        round_, begin = divmod(at + len(found), num)
        order = list(range(num))
        random.Random(f"{options.seed}:{round_}").shuffle(order)
        found += [examples[i] for i in order[begin : begin + options.batch - len(found)]]
    return found


def batches(examples: Sequence[Example]) -> list[list[Example]]:
    """Neighbours in length together, so that little is padding."""
    out: list[list[Example]] = []
    for one in sorted(examples, key=lambda e: len(e.tokens)):
        if not out or (len(out[-1]) + 1) * len(one.tokens) > _MICRO_TOKENS:
            out.append([])
        out[-1].append(one)
    return out


def _start(decoder: Decoder, examples: Sequence[Example], options: Options) -> Tensor:
    """The cache of as many demonstrations as fill the positions of the prefix."""
    tokens: list[int] = []
    for one in _endless(drawn(examples, options, 0)):
        if len(tokens) >= options.slots:
            break
        tokens += one.tokens
    with torch.no_grad():
        cache = decoder.extend(torch.tensor(tokens[: options.slots]), None)
        return torch.stack([torch.stack(pair) for pair in cache])


def _endless(examples: Sequence[Example]) -> Iterator[Example]:
    while True:
        yield from examples


def _check_room(examples: Sequence[Example], options: Options, source: Source) -> None:
    most = source.architecture.context
    longest = max(range(len(examples)), key=lambda i: len(examples[i].tokens))
    num = len(examples[longest].tokens)
    if num + options.slots > most:
        raise UsageError(
            f"demonstration {longest + 1} has {num} tokens, with {options.slots} slots more than "
            f"the {most} that {source.name} can see",
            "take it out, or train fewer slots",
        )


def _mean_loss(lines: Sequence[dict[str, Any]]) -> float:
    return round(sum(float(line["loss"]) for line in lines) / len(lines), 4)


def plot(lines: Sequence[dict[str, Any]], path: Path, name: str) -> bool:
    """Loss against steps. False: matplotlib is not there."""
    try:
        import matplotlib.figure
    except ModuleNotFoundError:
        return False
    steps = [line["step"] for line in lines]
    width = max(1, len(lines) // 50)
    smooth = [_mean_loss(lines[max(0, i - width + 1) : i + 1]) for i in range(len(lines))]
    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, [line["loss"] for line in lines], color="0.8", label="of a step")
    axes.plot(steps, smooth, color="tab:blue", label=f"mean of {width} steps")
    axes.set(xlabel="step", ylabel="loss (nats a token)", title=f"Prefix {name}")
    axes.legend()
    figure.savefig(path, dpi=120)
    return True

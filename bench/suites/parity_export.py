"""Exported models against transformers: the largest difference of logits, and greedy tokens.

Of each architecture a tiny model with random weights, and real ones as GGUF (`--real`), go to GGUF
f32 and ONNX f32. The same steps then run on `llamacpp`, on `onnxruntime` and in torch: a prompt, in
one piece and in chunks, greedy decoding, three sequences side by side, and hidden states fed back.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np

from edgereason.errors import UsageError
from edgereason.export.job import Job, export

from ..harness.exports import open_engine
from ..harness.runner import Bench, Findings, Say, Table, checkout
from ..harness.torch_models import Floats, Torch, in_torch, require_torch

if TYPE_CHECKING:
    from edgereason._core import Engine

Row = int | Floats

TARGETS: Final = ("gguf", "onnx")
PROMPT: Final = 40
STEPS: Final = 32
LENGTHS: Final = (5, 19, 11)
LATENT: Final = 8
_CHUNK: Final = 7
_CONTEXT: Final = 256
_REMARKS: Final = (
    "The engine llamacpp keeps KV in float16 and fuses attention: that is most of its difference.",
)


@dataclass(frozen=True, slots=True)
class Differences:
    """Largest differences to torch: of logits, and of hidden states where these were fed back."""

    prompt: float
    chunks: float
    decode: float
    batch: float
    hidden: float
    after_hidden: float
    greedy_equal: int  # of `STEPS`


Prepare = Callable[[Path], tuple[Path, Torch]]


def read(engine: Engine, rows: Sequence[tuple[int, int, Row]]) -> tuple[Floats, Floats | None]:
    """Decodes (sequence, position, token or embedding) rows: their logits and hidden states."""
    engine.decode([(*row, True) for row in rows])
    logits = [engine.logits(i) for i in range(len(rows))]
    hidden = [engine.hidden(i) for i in range(len(rows))]
    return _stack(logits), None if hidden[0] is None else _stack(hidden)


def differences(engine: Engine, torch: Torch, seed: int) -> Differences:
    vocab = min(engine.info["num_vocab"], 20000)
    rng = np.random.default_rng(seed)
    tokens: list[int] = rng.integers(3, vocab, PROMPT).tolist()
    lines: list[list[int]] = [rng.integers(3, vocab, length).tolist() for length in LENGTHS]
    wanted = torch.of(tokens)
    whole, _ = read(engine, [(0, pos, token) for pos, token in enumerate(tokens)])
    chunks = [
        read(engine, [(1, pos, tokens[pos]) for pos in range(at, min(at + _CHUNK, PROMPT))])[0]
        for at in range(0, PROMPT, _CHUNK)
    ]
    engine.drop(1)
    decode, equal = _decoded(engine, torch, tokens, whole[-1])
    batch = _batched(engine, torch, lines)
    hidden, after = _fed_back(engine, torch, tokens[:9])
    return Differences(
        prompt=_largest(whole, wanted),
        chunks=_largest(np.concatenate(chunks), wanted),
        decode=decode,
        batch=batch,
        hidden=hidden,
        after_hidden=after,
        greedy_equal=equal,
    )


def _decoded(
    engine: Engine, torch: Torch, prompt: Sequence[int], logits: Floats
) -> tuple[float, int]:
    """Goes on greedily in sequence 0, and asks torch about the same tokens."""
    tokens, found = list(prompt), []
    for _ in range(STEPS):
        tokens.append(int(logits.argmax()))
        logits = read(engine, [(0, len(tokens) - 1, tokens[-1])])[0][0]
        found.append(logits)
    engine.drop(0)
    wanted = torch.of(tokens)
    said = wanted[len(prompt) - 1 : -1].argmax(-1)
    equal = int((said == np.asarray(tokens[len(prompt) :])).sum())
    return _largest(np.stack(found), wanted[len(prompt) :]), equal


def _batched(engine: Engine, torch: Torch, lines: Sequence[list[int]]) -> float:
    """Prompts of different lengths in one step, then four steps of a token each."""
    found: list[list[Floats]] = [[] for _ in lines]
    rows = [(seq, pos, t) for seq, line in enumerate(lines) for pos, t in enumerate(line)]
    for _ in range(5):
        for (seq, _, _), logits in zip(rows, read(engine, rows)[0], strict=True):
            found[seq].append(logits)
        rows = [(seq, len(line), int(found[seq][-1].argmax())) for seq, line in enumerate(lines)]
        for seq, _, token in rows:
            lines[seq].append(token)
    for seq in range(len(lines)):
        engine.drop(seq)
    pairs = zip(found, lines, strict=True)
    return max(_largest(np.stack(these), torch.of(line[:-1])) for these, line in pairs)


def _fed_back(engine: Engine, torch: Torch, tokens: Sequence[int]) -> tuple[float, float]:
    """Hidden states go back in as embeddings, each side its own; then a token."""
    rows = torch.embeddings(tokens)
    _, hidden = read(engine, [(2, pos, token) for pos, token in enumerate(tokens)])
    largest = 0.0
    for step in range(LATENT):
        wanted = torch.of_embeddings(rows)[1][-1]
        if hidden is None:
            raise UsageError("the engine gives no hidden states")
        largest = max(largest, _largest(hidden[-1], wanted))
        rows = np.concatenate([rows, wanted[None]])
        _, hidden = read(engine, [(2, len(tokens) + step, hidden[-1])])
    logits, _ = read(engine, [(2, len(tokens) + LATENT, tokens[0])])
    engine.drop(2)
    rows = np.concatenate([rows, torch.embeddings(tokens[:1])])
    return largest, _largest(logits[0], torch.of_embeddings(rows)[0][-1])


def _stack(rows: Sequence[Floats | None]) -> Floats:
    return np.stack([np.array(row) for row in rows if row is not None])


def _largest(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).max())


# --- models ---------------------------------------------------------------------------------------


def tiny_models() -> ModuleType:
    """The tests' models, which are no part of an installed package."""
    path = checkout() / "tests" / "support" / "hf_models.py"
    if not path.is_file():
        raise UsageError("the tiny models are in the tests", "run this bench in a checkout")
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("hf_models", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(options: argparse.Namespace, say: Say) -> Findings:
    require_torch()
    found: dict[str, dict[str, Differences]] = {}
    for name, prepare in _models(options).items():
        with tempfile.TemporaryDirectory() as folder:
            source, model = prepare(Path(folder))
            for target in options.targets:
                say(f"{name}: {target}")
                out = Path(folder) / target
                bundle = export(source, Job(target, out, {"quant": "f32"})).bundle
                engine = open_engine(bundle)
                found.setdefault(name, {})[target] = differences(engine, model, options.seed)
                del engine
    return _findings(found)


def _models(options: argparse.Namespace) -> dict[str, Prepare]:
    """Name -> what makes the source in a folder, and gives it with its model in torch."""
    found: dict[str, Prepare] = {}
    if options.kinds:
        tiny = tiny_models()
        kinds = tiny.KINDS if options.kinds == ["all"] else options.kinds
        found = {f"tiny {kind}": partial(_tiny, tiny, kind) for kind in kinds}
    return found | {name: partial(_real, name) for name in options.real}


def _tiny(tiny: ModuleType, kind: str, folder: Path) -> tuple[Path, Torch]:
    return tiny.save_model(folder / "source", kind), Torch(tiny.build_model(kind))


def _real(name: str, folder: Path) -> tuple[Path, Torch]:
    return in_torch(name)


def _findings(found: Mapping[str, Mapping[str, Differences]]) -> Findings:
    figures = {
        name: {target: asdict(each) for target, each in targets.items()}
        for name, targets in found.items()
    }
    names = [field.name for field in fields(Differences)]
    rows = [
        (name, target, *(_short(getattr(each, field)) for field in names))
        for name, targets in found.items()
        for target, each in targets.items()
    ]
    columns = ("model", "f32 as", *(name.replace("_", " ") for name in names))
    title = f"Largest difference to torch; greedy tokens equal of {STEPS}"
    return Findings(figures, (Table(title, columns, rows),), _REMARKS)


def _short(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1e}"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kinds", nargs="*", default=["all"], help="of tiny models")
    parser.add_argument("--real", nargs="*", default=[], help="names or paths of GGUF models")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)


BENCH = Bench("parity_export", __doc__.splitlines()[0], _add_options, measure)

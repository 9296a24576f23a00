"""What is fuzzed: for each kind of file that a stranger may bring, its seed, how a mutant of it is
made, and how it is opened. The seeds are a model of a few thousand weights in every form.

To open one may end in an `EdgereasonError`. Anything else is a finding, and so is what is accepted
although a checksum speaks against it (`Accepted`).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from fuzz import mutate

SEEDS: Final = Path(__file__).with_name("seeds")
_HEADER: Final = 1 << 14  # damage that matters is in the first part of a GGUF


class Accepted(Exception):
    """Changed weights were taken for good, and there is a checksum."""


@dataclass(frozen=True)
class Kind:
    """`make` writes a mutant into an empty folder, `open` opens that."""

    make: Callable[[Path, random.Random], None]
    open: Callable[[Path], None]


# --- one for each kind of file --------------------------------------------------------------------


def _make_gguf(folder: Path, draw: random.Random) -> None:
    raw = mutate.bytes_of((SEEDS / "model.gguf").read_bytes(), draw, _HEADER)
    (folder / "model.gguf").write_bytes(raw)


def _open_gguf(folder: Path) -> None:
    from edgereason.models.bundle import open_bundle

    open_bundle(folder / "model.gguf")
    _read_source(folder / "model.gguf")


def _read_source(path: Path) -> None:
    """All that an export reads."""
    from edgereason.export.sources.open import open_source

    with open_source(path) as source:
        for name in source.names():
            source.tensor(name)


def _make_manifest(folder: Path, draw: random.Random) -> None:
    shutil.copy(SEEDS / "model.gguf", folder)
    raw = mutate.json_of((SEEDS / "bundle" / "edgereason.json").read_bytes(), draw)
    (folder / "edgereason.json").write_bytes(raw)


def _open_bundle(folder: Path) -> None:
    from edgereason.errors import BundleError
    from edgereason.models.bundle import open_bundle, to_dict, verify

    bundle = open_bundle(folder)
    to_dict(bundle)
    try:
        verify(bundle)
    except BundleError:
        return
    for file in bundle.files:
        same = (folder / file.path).read_bytes() == (SEEDS / "model.gguf").read_bytes()
        if file.path.endswith(".gguf") and not same:
            raise Accepted(file.path)


def _make_weights(folder: Path, draw: random.Random) -> None:
    """The manifest is right, the weights are not."""
    shutil.copy(SEEDS / "bundle" / "edgereason.json", folder)
    raw = bytearray((SEEDS / "model.gguf").read_bytes())
    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    (folder / "model.gguf").write_bytes(raw)


def _make_prefix(folder: Path, draw: random.Random) -> None:
    raw = mutate.bytes_of((SEEDS / "prefix.safetensors").read_bytes(), draw)
    (folder / "prefix.safetensors").write_bytes(raw)


def _open_prefix(folder: Path) -> None:
    from edgereason.models.prefix_file import read_prefix

    found, seed = read_prefix(folder / "prefix.safetensors"), _seed_prefix()
    for one, other in zip((*found.keys, *found.values), (*seed.keys, *seed.values), strict=True):
        if not np.array_equal(one, other):
            raise Accepted("prefix.safetensors")


@lru_cache(maxsize=1)
def _seed_prefix() -> Any:
    from edgereason.models.prefix_file import read_prefix

    return read_prefix(SEEDS / "prefix.safetensors")


def _make_folder(folder: Path, draw: random.Random) -> None:
    shutil.copytree(SEEDS / "hf", folder, dirs_exist_ok=True)
    name = draw.choice(
        [
            *("config.json", "config.json", "tokenizer.json", "tokenizer.json"),
            *("tokenizer_config.json", "generation_config.json"),
            *("model.safetensors", "chat_template.jinja"),
        ]
    )
    raw = (folder / name).read_bytes()
    damage = mutate.json_of if name.endswith(".json") else mutate.bytes_of
    (folder / name).write_bytes(damage(raw, draw))


def _make_graph(folder: Path, draw: random.Random) -> None:
    shutil.copytree(SEEDS / "onnx", folder, dirs_exist_ok=True)
    path = folder / "model.onnx"
    raw = mutate.bytes_of(path.read_bytes(), draw)
    same = path.stat().st_size
    path.write_bytes(raw[:same] + bytes(max(same - len(raw), 0)))  # its size is in the manifest


def _open_graph(folder: Path) -> None:
    from edgereason.engines import onnxruntime
    from edgereason.models.bundle import open_bundle

    onnxruntime.open(open_bundle(folder), onnxruntime.Config(context=256, threads=1))


def _make_imatrix(folder: Path, draw: random.Random) -> None:
    raw = mutate.bytes_of((SEEDS / "imatrix.gguf").read_bytes(), draw)
    (folder / "imatrix.gguf").write_bytes(raw)


def _open_imatrix(folder: Path) -> None:
    from edgereason.export.weights.imatrix import read

    found = read(folder / "imatrix.gguf")
    for name in found.sums:
        found.importance(name)


def _make_template(folder: Path, draw: random.Random) -> None:
    from support import chat_templates

    names = ("CHATML", "GEMMA", "GPT_OSS", "QWEN3", "R1", "SMOLLM3")
    seed = getattr(chat_templates, draw.choice(names))
    (folder / "chat_template.jinja").write_bytes(mutate.template_of(seed.encode(), draw))


def _open_template(folder: Path) -> None:
    """Renders a conversation with it, as for a prompt, and looks for what it takes."""
    from edgereason.prompt.chat import render
    from edgereason.prompt.template import literals_of, variables_of
    from edgereason.records import Message

    template = (folder / "chat_template.jinja").read_bytes().decode(errors="replace")
    variables_of(template)
    literals_of(template)
    talk = [Message("user", "a </think> <|im_end|>"), Message("assistant", "b", "c")]
    render(template, [*talk, Message("user", "What is 17 * 3?")])


# --- values of the API ----------------------------------------------------------------------------

_KEYWORDS: Final = (
    *("strategy", "options", "think_budget", "answer_budget", "deadline_ms", "soft", "sampling"),
    *("priority", "stop", "probe_every", "keep", "prefix"),
)


def _make_values(folder: Path, draw: random.Random) -> None:
    (folder / "seed").write_text(str(draw.random()))


def _open_values(folder: Path) -> None:
    """A request on the scripted engine, with some of its values drawn."""
    draw = random.Random((folder / "seed").read_text())
    given = {name: _value(draw) for name in draw.sample(_KEYWORDS, draw.choice((1, 1, 2, 3)))}
    prompt = "What is 17 * 3?" if draw.random() < 0.9 else _value(draw)
    _reasoner().submit(prompt, **given).result(20)


def _value(draw: random.Random) -> Any:
    return draw.choice((*mutate.VALUES, float("nan"), float("inf"), b"x", "think", "vote", ("",)))


@lru_cache(maxsize=1)
def _reasoner() -> Any:
    from edgereason import Reasoner
    from support.places import SCRIPTED

    return Reasoner.open(SCRIPTED)


KINDS: Final = {
    "gguf": Kind(_make_gguf, _open_gguf),
    "manifest": Kind(_make_manifest, _open_bundle),
    "weights": Kind(_make_weights, _open_bundle),
    "prefix": Kind(_make_prefix, _open_prefix),
    "hf-folder": Kind(_make_folder, _read_source),
    "onnx": Kind(_make_graph, _open_graph),
    "imatrix": Kind(_make_imatrix, _open_imatrix),
    "template": Kind(_make_template, _open_template),
    "values": Kind(_make_values, _open_values),
}

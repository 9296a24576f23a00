"""What each format costs and loses: one model exported to all, measured through the real commands.

Size, time and memory of the export, loading, speed in turns, KL divergence to f16 on a text. What
is done is kept in `--work`: run it again to go on. Knows formats by their command lines only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason import engines
from edgereason.errors import UsageError
from edgereason.export.compare.logits import compare, open_engines
from edgereason.export.windows import read_text, windows_of
from edgereason.models.bundle import open_bundle
from edgereason.registry import load

from ..harness.exports import Kept, edgereason, prompt_and_decode, size_mib, solved_problems, told
from ..harness.runner import Bench, Findings, Say, Table, turns

FORMATS: Final = (
    "gguf f16",
    "gguf q8_0",
    "gguf q4_k_m",
    "gguf q4_0",
    "onnx f32",
    "onnx int8",
    "onnx int4",
)
REFERENCE: Final = "gguf f16"
_QUESTION: Final = "What is the capital of France?"


def measure(options: argparse.Namespace, say: Say) -> Findings:
    text = read_text(options.text) if options.text else solved_problems()
    if not text:
        raise UsageError("there is no text to compare on", "give one with --text")
    options.work.mkdir(parents=True, exist_ok=True)
    asked = (options.model, options.tokens, options.turns, str(options.text))
    kept = Kept(options.work / "formats.json", asked)
    for name in options.formats:
        _export(name, options, kept, say)
    missing = [name for name in options.formats if f"{name}: speed" not in kept]
    if missing:  # all of them, so that they are compared in turns
        _speeds(options, text, kept, say)
    _divergences(options, text, kept, say)
    return findings(options.formats, kept)


def _folder(options: argparse.Namespace, name: str) -> Path:
    folder: Path = options.work / name.replace(" ", "-")
    return folder


def _export(name: str, options: argparse.Namespace, kept: Kept, say: Say) -> None:
    """Exports, and asks the bundle a question."""
    if f"{name}: answer" in kept:
        return
    target, quant = name.split()
    folder = _folder(options, name)
    shutil.rmtree(folder, ignore_errors=True)
    say(f"{name}: export")
    ran = edgereason("export", options.model, "--to", target, "--quant", quant, "--out", folder)
    kept[f"{name}: export"] = {
        "size_mib": size_mib(folder),
        "export_s": ran.seconds,
        "peak_mib": ran.peak_mib,
    }
    how = ("--strategy", "no-think", "--answer-budget", "24", "--json")
    asked = edgereason("run", "-m", folder, _QUESTION, *how)
    kept[f"{name}: answer"] = json.loads(asked.out)["answer"]


def _speeds(options: argparse.Namespace, text: str, kept: Kept, say: Say) -> None:
    found = turns(
        {name: lambda name=name: _speed(_folder(options, name), text) for name in options.formats},  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        options.turns,
        say,
    )
    for name, all_of in found.items():
        kept[f"{name}: speed"] = {
            key: median(turn[key] for turn in all_of) for key in ("load_s", "prompt", "decode")
        }


def _speed(folder: Path, text: str) -> dict[str, float]:
    """Seconds to open, tokens per second of a prompt of 256 and of 64 after it."""
    bundle = open_bundle(folder)
    module: Any = load(engines, bundle.engine)
    begin = time.perf_counter()
    engine = module.open(bundle, module.Config(context=512, sequences=1))
    load_s = time.perf_counter() - begin
    tokens = engine.tokenize(text[:4000])[:256]
    prompt_and_decode(engine, tokens[:32], 2)  # first calls allocate
    prompt, decode = prompt_and_decode(engine, tokens, 64)
    return {"load_s": load_s, "prompt": prompt, "decode": decode}


def _divergences(options: argparse.Namespace, text: str, kept: Kept, say: Say) -> None:
    missing = [name for name in options.formats if f"{name}: kl" not in kept]
    if not missing:
        return
    names = [REFERENCE, *(name for name in missing if name != REFERENCE)]
    opened = open_engines([open_bundle(_folder(options, name)) for name in names])
    windows = windows_of(opened[0], text, options.tokens)
    progress = told(say, f"{len(names)} models")
    for name, found in zip(names, compare(opened, windows, progress), strict=True):
        kept[f"{name}: kl"] = asdict(found)


_COLUMNS: Final = {
    "MiB": "size_mib",
    "export s": "export_s",
    "peak MiB": "peak_mib",
    "load s": "load_s",
    "decode tok/s": "decode",
    "prompt tok/s": "prompt",
    "KL to f16": "kl_mean",
    "KL p99": "kl_p99",
    "same token": "same_top",
    "perplexity": "perplexity",
}


def findings(formats: Sequence[str], kept: Kept | Mapping[str, Any]) -> Findings:
    figures = {
        name: {
            **kept[f"{name}: export"],
            **kept[f"{name}: speed"],
            **kept[f"{name}: kl"],
            "answer": kept[f"{name}: answer"],
        }
        for name in formats
    }
    rows = [(name, *(found[key] for key in _COLUMNS.values())) for name, found in figures.items()]
    num_tokens = figures[formats[0]]["num_tokens"]
    answers = [(name, " ".join(found["answer"].split())[:90]) for name, found in figures.items()]
    return Findings(
        figures,
        (
            Table(f"formats, KL on {num_tokens:,} tokens", ("", *_COLUMNS), rows),
            Table(f"edgereason run: {_QUESTION}", ("", "answer"), answers),
        ),
        (
            "Peak memory is that of the export's process, pages of mapped files included.",
            "Load is the engine's open, files in the page cache. Speeds are medians of turns: a "
            "prompt of 256 tokens, 64 after it, one sequence.",
        ),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", type=Path, help="what is compared on; default: GSM8K's train")
    parser.add_argument("--tokens", type=int, default=20000, help="of that text")
    parser.add_argument("--turns", type=int, default=3, help="of the speeds")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument(
        "--work", type=Path, default=Path("build/formats"), help="exports and unfinished results"
    )


BENCH = Bench("formats", __doc__.splitlines()[0], _add_options, measure)

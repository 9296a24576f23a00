"""The engine onnxruntime against onnxruntime-genai on the same weights, and against llamacpp.

Ours is the whole way from `Reasoner.ask` to the answer; genai's loop runs the same graph, with the
nodes around it that it needs, on token ids. Every comparison is made in turns; all systems have the
same threads, which spin or do not as `--spin` says.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.runtime.reasoner import Reasoner

from ..harness.runner import Bench, Findings, Say, Table, ratios, turns
from ..harness.speed import FILLER, STORY, Figures, ask
from ..rivals.genai import Genai, wrap

_GENAI: Final = "onnxruntime-genai"

Runs = Mapping[str, Sequence[Figures]]


def measure(options: argparse.Namespace, say: Say) -> Findings:
    if not options.onnx:
        raise UsageError(
            "which bundles?",
            "give --onnx FOLDER, made by edgereason export smollm2-135m --to onnx --out FOLDER",
        )
    reports: dict[str, tuple[Runs, Runs]] = {}
    for folder in options.onnx:
        bundle = open_bundle(folder)
        if bundle.engine != "onnxruntime":
            raise UsageError(f"{folder} is not a bundle for the engine onnxruntime")
        with tempfile.TemporaryDirectory(dir=folder.parent) as wrapped:
            wrap(
                folder,
                Path(wrapped),
                threads=options.threads,
                spin=options.spin,
                context=options.context,
            )
            reports[bundle.quantization] = _compare(options, say, folder, Path(wrapped))
    return _findings(reports)


def _compare(
    options: argparse.Namespace, say: Say, folder: Path, wrapped: Path
) -> tuple[Runs, Runs]:
    """Decoding after a short prompt, then reading a long one."""
    reports = []
    llama = str(resolve(options.model))
    for text, num_tokens in (
        (STORY, options.decode),
        (FILLER * (options.prompt // 18), 2),  # about 18 tokens each time
    ):
        tokens, num_prompt = _tokens(options, folder, text)
        say(f"{folder.name}: {num_tokens} tokens after a prompt of {num_prompt}")
        systems: dict[str, Callable[[], Figures]] = {
            "onnxruntime": partial(_ours, options, str(folder), text, num_tokens),
            _GENAI: partial(_genai, options, wrapped, tokens[:num_prompt], num_tokens),
            "llamacpp": partial(_ours, options, llama, text, num_tokens),
        }
        reports.append(turns(systems, options.turns, say))
    return reports[0], reports[1]


def _open(options: argparse.Namespace, model: str) -> Reasoner:
    is_onnx = open_bundle(model).engine == "onnxruntime"
    more = {"spin": options.spin, "sequences": 1} if is_onnx else {}
    return Reasoner.open(model, threads=options.threads, context=options.context, **more)


def _tokens(options: argparse.Namespace, folder: Path, text: str) -> tuple[list[int], int]:
    """Tokens as many as the runtime makes of the prompt, template included; which does not matter
    for speed."""
    with _open(options, str(folder)) as reasoner:
        num_prompt = int(ask(reasoner, 2, text)["prompt_tokens"])
        return reasoner.engine.tokenize(text + FILLER * 8), num_prompt


def _ours(options: argparse.Namespace, model: str, text: str, num_tokens: int) -> Figures:
    """Opened for one turn: threads that wait for another's work may spin on its cores."""
    with _open(options, model) as reasoner:
        ask(reasoner, 8, "Hello")
        return ask(reasoner, num_tokens, text)


def _genai(
    options: argparse.Namespace, folder: Path, tokens: Sequence[int], num_tokens: int
) -> Figures:
    model = Genai(folder, context=options.context)
    model.prompt_and_decode(tokens[:16], 8)
    read, write, _ = model.prompt_and_decode(tokens, num_tokens - 1)
    return {"prompt_tokens_per_s": read, "decode_tokens_per_s": write}


def _findings(reports: Mapping[str, tuple[Runs, Runs]]) -> Findings:
    columns = ("weights", "engine", "tok/s", "onnxruntime to this", "lowest", "highest")
    tables = []
    figures: dict[str, Any] = {"runs": {}}
    for i, (title, key) in enumerate(
        (("Decoding, one stream", "decode"), ("Reading a prompt", "prompt"))
    ):
        rows = []
        for quant, report in reports.items():
            runs = report[i]
            rates = {name: [f[f"{key}_tokens_per_s"] for f in each] for name, each in runs.items()}
            for name, values in rates.items():
                pairs = ratios(rates["onnxruntime"], values)
                weights = "" if name == "llamacpp" else quant
                rows.append((weights, name, median(values), median(pairs), min(pairs), max(pairs)))
            figures["runs"].setdefault(quant, {})[key] = runs
        tables.append(Table(title, columns, rows))
        figures[key] = [dict(zip(columns, row, strict=True)) for row in rows]
    return Findings(figures, tuple(tables))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--onnx", type=Path, nargs="+", metavar="FOLDER", help="bundles of the model's weights"
    )
    parser.add_argument("--threads", type=int, default=1, help="of every system")
    parser.add_argument("--spin", action="store_true", help="let idle threads spin")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--decode", type=int, default=128, help="tokens of one stream")
    parser.add_argument("--prompt", type=int, default=400, help="tokens of the long prompt, about")


BENCH = Bench("engines", __doc__.splitlines()[0], _add_options, measure)

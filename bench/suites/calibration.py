"""Whether it pays to calibrate formats of few bits on a model's own thinking.

Each format plain, with an importance matrix from prose, and with one from traces of thinking:
KL divergence to f16 on held-out traces and on held-out prose, and the share of easy sums that come
out right. What is done is kept in `--work`: run it again to go on. Knows formats by their command
lines only.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.export.compare.logits import compare, open_engines
from edgereason.export.weights.traces import Wanted, sample
from edgereason.export.windows import read_text, windows_of
from edgereason.models.bundle import open_bundle
from edgereason.records import Answer, Sampling
from edgereason.runtime.reasoner import Handle, Reasoner

from ..harness.exports import Kept, edgereason, size_mib, told
from ..harness.questions import Question, gsm8k, read_questions
from ..harness.runner import Bench, Findings, Say, Table, wilson

FORMATS: Final = ("gguf q4_0", "gguf q4_k_m", "gguf q3_k_m", "gguf q2_k", "onnx int4")
WAYS: Final = ("plain", "prose", "thinking")
_EXACT: Final = "gguf f16"


def measure(options: argparse.Namespace, say: Say) -> Findings:
    options.work.mkdir(parents=True, exist_ok=True)
    skipped = ("work", "save", "quiet", "wait_idle", "formats")
    asked = {key: value for key, value in vars(options).items() if key not in skipped}
    kept = Kept(options.work / "calibration.json", asked)
    texts = _texts(options)
    kept.once("export", lambda: _export(options, _EXACT, "plain", options.model, say))
    exact = _folder(options, _EXACT, "plain")
    for way in WAYS[1:]:
        kept.once(f"imatrix {way}", lambda way=way: _calibrate(options, exact, way, texts, say))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
    for name in options.formats:
        for way in WAYS:
            kept.once(
                f"{name} {way}: MiB",
                lambda name=name, way=way: _export(options, name, way, exact, say),  # type: ignore[misc]  # the same
            )
    kept.once("held out", lambda: _held_out(options, exact, texts, say))
    _divergences(options, kept, say)
    for name, way in _systems(options):
        kept.once(
            f"{name} {way}: sums",
            lambda name=name, way=way: _sums(_folder(options, name, way), say),  # type: ignore[misc]  # the same
        )
    kept.once("gsm8k", lambda: _gsm8k(options, exact, say))
    return findings(options, kept)


def _systems(options: argparse.Namespace) -> list[tuple[str, str]]:
    return [(_EXACT, "plain"), *((name, way) for name in options.formats for way in WAYS)]


def _folder(options: argparse.Namespace, name: str, way: str) -> Path:
    folder: Path = options.work / f"{name} {way}".replace(" ", "-")
    return folder


# --- making ---------------------------------------------------------------------------------------


def _texts(options: argparse.Namespace) -> dict[str, Path]:
    """Prose to calibrate on, other prose to compare on, questions to think about."""
    prose = read_text(options.prose) if options.prose else _documentation()
    middle = prose.index(" ", len(prose) // 2)
    texts = {"prose": prose[:middle], "other prose": prose[middle:]}
    files = {name: options.work / f"{name.replace(' ', '-')}.txt" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text, encoding="utf-8")
    questions = options.questions or gsm8k().with_name("train.jsonl")
    if not questions.is_file():
        raise UsageError(f"there are no questions at {questions}", "give some with --questions")
    return {**files, "questions": questions}


def _documentation() -> str:
    """Prose that every Python brings along: the reference of its language."""
    from pydoc_data.topics import topics

    return "\n\n".join(text for _, text in sorted(topics.items()))


def _calibrate(
    options: argparse.Namespace, exact: Path, way: str, texts: Mapping[str, Path], say: Say
) -> float:
    say(f"importance from {way}")
    given = ("--text", texts["prose"]) if way == "prose" else ("--questions", texts["questions"])
    size = ("--tokens", str(options.calibration_tokens), "--think-budget", "256")
    out = options.work / f"{way}.gguf"
    ran = edgereason("export", "calibrate", exact, *given, *size, "--out", out)
    return ran.seconds


def _export(
    options: argparse.Namespace, name: str, way: str, source: str | Path, say: Say
) -> float:
    say(f"export {name}, {way}")
    target, quant = name.split()
    folder = _folder(options, name, way)
    shutil.rmtree(folder, ignore_errors=True)
    imatrix = () if way == "plain" else ("--imatrix", options.work / f"{way}.gguf")
    edgereason("export", source, "--to", target, "--quant", quant, *imatrix, "--out", folder)
    return size_mib(folder)


# --- measuring ------------------------------------------------------------------------------------


def _held_out(
    options: argparse.Namespace, exact: Path, texts: Mapping[str, Path], say: Say
) -> dict[str, list[list[int]]]:
    """Windows of tokens: f16's own thinking on GSM8K's test problems, and the other prose."""
    problems = [question.text for question in read_questions(options.problems or gsm8k(), 200)]
    wanted = Wanted(options.tokens, think_tokens=256, seed=options.seed + 10**6)
    with Reasoner.open(str(exact)) as reasoner:
        traces = sample(reasoner, problems, wanted, told(say, "held out"))
        prose = windows_of(reasoner.engine, read_text(texts["other prose"]), options.tokens)
    return {"thinking": traces, "prose": prose}


def _divergences(options: argparse.Namespace, kept: Kept, say: Say) -> None:
    """All that are missing side by side, so that f16 reads the texts once."""
    systems = _systems(options)
    missing = [(name, way) for name, way in systems if f"{name} {way}: kl" not in kept]
    if not missing:
        return
    windows = kept["held out"]
    longest = max(len(window) for text in windows.values() for window in text)
    read = [systems[0], *(system for system in missing if system != systems[0])]
    opened = open_engines([open_bundle(_folder(options, *system)) for system in read], longest)
    found: dict[tuple[str, str], dict[str, Any]] = {system: {} for system in read}
    for text, of_text in windows.items():
        progress = told(say, f"{len(read)} models, {text}")
        differences = compare(opened, of_text, progress)
        for system, difference in zip(read, differences, strict=True):
            found[system][text] = asdict(difference)
    for (name, way), of_system in found.items():
        kept[f"{name} {way}: kl"] = of_system


def _sums(folder: Path, say: Say) -> list[bool]:
    say(f"sums: {folder.name}")
    digits = range(1, 10)
    questions = [Question(f"What is {a} + {b}?", str(a + b)) for a in digits for b in digits]
    return _right(folder, questions, strategy="no-think", answer_budget=32)


def _gsm8k(options: argparse.Namespace, exact: Path, say: Say) -> list[bool]:
    """Of f16 alone: where the best has none right, the others tell nothing."""
    say("GSM8K with f16")
    questions = read_questions(options.problems or gsm8k(), options.gsm8k)
    return _right(exact, questions, strategy="think", think_budget=256, answer_budget=16)


def _right(folder: Path, questions: Sequence[Question], **how: Any) -> list[bool]:
    with Reasoner.open(str(folder)) as reasoner:
        handles: list[Handle] = [
            reasoner.submit(question.text, sampling=Sampling(), **how) for question in questions
        ]
        answers: list[Answer] = [handle.result() for handle in handles]
    return [
        question.is_right(answer.answer)
        for answer, question in zip(answers, questions, strict=True)
    ]


# --- telling --------------------------------------------------------------------------------------


def findings(options: argparse.Namespace, kept: Kept | Mapping[str, Any]) -> Findings:
    figures: dict[str, Any] = {
        f"{name} {way}": _figures(kept, name, way) for name, way in _systems(options)
    }
    rows = [_row(name, way, figures[f"{name} {way}"]) for name, way in _systems(options)]
    shown = (f"{key}, {text}" for text in ("thinking", "prose") for key in _SHOWN)
    columns = ("format", "calibrated on", "MiB", *shown, "easy sums right")
    num = [figures[f"{_EXACT} plain"][text]["num_tokens"] for text in ("thinking", "prose")]
    solved = kept["gsm8k"]
    figures |= {
        "gsm8k": {"right": sum(solved), "num": len(solved)},
        "calibration_s": {way: kept[f"imatrix {way}"] for way in WAYS[1:]},
        "paired_sums": _paired(options, kept),
    }
    remarks = (
        f"KL to f16 in nats, on {num[0]:,} tokens of f16's thinking and {num[1]:,} of prose; "
        f"both held out. Calibrated on {options.calibration_tokens:,} tokens each.",
        f"GSM8K: f16 itself has {sum(solved)} of {len(solved)} right, so accuracy is told on "
        "all sums of two digits, with Wilson's 95 % interval.",
    )
    return Findings(figures, (Table("calibration", columns, rows),), remarks)


def _figures(kept: Kept | Mapping[str, Any], name: str, way: str) -> dict[str, Any]:
    right = kept[f"{name} {way}: sums"]
    return {
        "size_mib": kept["export"] if name == _EXACT else kept[f"{name} {way}: MiB"],
        **kept[f"{name} {way}: kl"],
        "sums_right": sum(right),
        "sums": len(right),
        "sums_interval": wilson(sum(right), len(right)),
    }


def _row(name: str, way: str, found: Mapping[str, Any]) -> tuple[object, ...]:
    low, high = found["sums_interval"]
    return (
        name,
        "-" if name == _EXACT else way,
        found["size_mib"],
        *(found[text][key] for text in ("thinking", "prose") for key in _SHOWN.values()),
        f"{found['sums_right'] / found['sums']:.0%} ({low:.0%} to {high:.0%})",
    )


_SHOWN: Final = {"KL": "kl_mean", "KL p99": "kl_p99", "same token": "same_top"}


def _paired(options: argparse.Namespace, kept: Kept | Mapping[str, Any]) -> dict[str, list[int]]:
    """For each format: sums right with thinking but wrong otherwise, and the other way round."""
    pairs = {}
    for name in options.formats:
        ours = kept[f"{name} thinking: sums"]
        for way in WAYS[:2]:
            both = list(zip(ours, kept[f"{name} {way}: sums"], strict=True))
            pairs[f"{name}, thinking against {way}"] = [
                sum(a and not b for a, b in both),
                sum(b and not a for a, b in both),
            ]
    return pairs


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prose", type=Path, help="a text; default: Python's language reference")
    parser.add_argument("--questions", type=Path, help="to think about; default: GSM8K's train")
    parser.add_argument("--problems", type=Path, help="held out; default: GSM8K's test")
    parser.add_argument("--calibration-tokens", type=int, default=20000)
    parser.add_argument("--tokens", type=int, default=4000, help="of each held-out text")
    parser.add_argument("--gsm8k", type=int, default=20, help="problems, for f16 alone")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument(
        "--work", type=Path, default=Path("build/calibration"), help="exports, unfinished results"
    )


BENCH = Bench("calibration", __doc__.splitlines()[0], _add_options, measure)

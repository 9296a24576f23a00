"""ONNX folders of other tools: ours against the tool's own runner, in turns, on the same tokens.

optimum's folders against `ORTModelForCausalLM.generate`, those of onnxruntime-genai's builder
against its generator. Each runs in a process of its environment (`--optimum-python`,
`--genai-python`); the greedy tokens of both are compared. Where others compute on the same cores,
tokens per second of CPU time are the surer figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.errors import EngineError, UsageError
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.runner import Bench, Findings, Say, Table, ratios, turns
from ..harness.speed import FILLER, stay_on
from ..rivals import onnx_runner

_GENAI_CONFIG: Final = "genai_config.json"
_KEYS: Final = (
    "decode_tokens_per_s",
    "cpu_tokens_per_s",
    "prompt_tokens_per_s",
    "cpu_prompt_tokens_per_s",
)

Turn = dict[str, Any]


def measure(options: argparse.Namespace, say: Say) -> Findings:
    if not options.folders:
        raise UsageError(
            "which folders?", "give --folders FOLDER..., as optimum or genai wrote them"
        )
    rows, figures = [], {}
    for folder in options.folders:
        rival = "genai" if (folder / _GENAI_CONFIG).is_file() else "optimum"
        python = getattr(options, f"{rival}_python")
        if not python:
            raise UsageError(
                f"{folder} needs the environment of {rival}", f"give --{rival}-python PYTHON"
            )
        runs = _compare(options, say, folder, rival, python)
        rows.append(_row(folder.name, rival, runs))
        figures[folder.name] = runs
    columns = (
        *("folder", "its runner", "decode: ours to it", "lowest", "highest"),
        *("of CPU time", "prompt", "prompt of CPU time", "same"),
    )
    table = Table("Ours to each tool's own runner", columns, rows)
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    return Findings({"rows": named, "runs": figures}, (table,))


def _compare(
    options: argparse.Namespace, say: Say, folder: Path, rival: str, python: str
) -> dict[str, list[Turn]]:
    with Reasoner.open(folder, threads=options.threads, context=options.context) as reasoner:
        text = (FILLER * (options.prompt // 18 + 1))[: 4 * options.prompt]
        tokens = reasoner.engine.tokenize(text)
    with _threads_told(folder, rival, options.threads) as theirs:
        systems: dict[str, Callable[[], Turn]] = {
            "edgereason": partial(_ours_anew, options, folder, text, len(tokens)),
            rival: partial(_theirs, options, python, rival, theirs, tokens),
        }
        say(f"{folder.name}: {options.decode} tokens behind {len(tokens)}")
        return turns(systems, options.turns, say)


@contextmanager
def _threads_told(folder: Path, rival: str, threads: int) -> Iterator[Path]:
    if rival != "genai":
        yield folder
        return
    with tempfile.TemporaryDirectory() as out:
        onnx_runner.given_threads(folder, Path(out), threads)
        yield Path(out)


def _ours_anew(*arguments: Any) -> Turn:
    """In a process of its own, as the other: where memory lies makes a tenth of the speed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_ours, *arguments).result()


def _ours(options: argparse.Namespace, folder: Path, text: str, num_prompt: int) -> Turn:
    with Reasoner.open(
        folder, threads=options.threads, context=options.context, sequences=1
    ) as reasoner:
        greedy = stay_on(reasoner)
        _ask(reasoner, text, 2, greedy)
        prompts = [_timed(reasoner, text, 1, greedy) for _ in range(onnx_runner.NUM_PROMPTS)]
        result, cpu_s = _timed(reasoner, text, options.decode, greedy)
        if result.num_prompt != num_prompt:
            raise EngineError(f"a prompt of {num_prompt} tokens became {result.num_prompt}")
        prompt_cpu_s = median(spent for _, spent in prompts)
        return {
            "prompt_tokens_per_s": 1000 * num_prompt / median(one.prefill_ms for one, _ in prompts),
            "cpu_prompt_tokens_per_s": num_prompt / prompt_cpu_s,
            "decode_tokens_per_s": 1000 * (options.decode - 1) / result.decode_ms,
            "cpu_tokens_per_s": (options.decode - 1) / (cpu_s - prompt_cpu_s),
            "tokens": list(result.tokens),
            "ends": sorted(greedy.logit_bias),
        }


def _timed(reasoner: Reasoner, text: str, num: int, sampling: Sampling) -> tuple[Any, float]:
    """What came of it, and the seconds that all threads computed."""
    before = time.process_time()
    return _ask(reasoner, text, num, sampling), time.process_time() - before


def _ask(reasoner: Reasoner, text: str, num: int, sampling: Sampling) -> Any:
    handle = reasoner.submit(text, strategy="raw", answer_budget=num, sampling=sampling)
    handle.result()
    return handle.chains[0][-1]


def _theirs(
    options: argparse.Namespace, python: str, rival: str, folder: Path, tokens: Sequence[int]
) -> Turn:
    arguments = [rival, str(folder), str(options.threads), str(options.decode)]
    done = subprocess.run(
        [python, str(onnx_runner.__file__), *arguments],
        input=json.dumps(list(tokens)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{rival} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: Turn = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(name: str, rival: str, runs: dict[str, list[Turn]]) -> tuple[Any, ...]:
    pairs = {
        key: ratios(*([turn[key] for turn in runs[system]] for system in ("edgereason", rival)))
        for key in _KEYS
    }
    decode, cpu, prompt, cpu_prompt = (pairs[key] for key in _KEYS)
    told = [
        same_tokens(ours["tokens"], theirs["tokens"], ours["ends"])
        for ours, theirs in zip(runs["edgereason"], runs[rival], strict=True)
    ]
    same = f"{min(same for same, _ in told)} of {min(num for _, num in told)}"
    middle = [median(found) for found in (decode, cpu, prompt, cpu_prompt)]
    return (name, rival, middle[0], min(decode), max(decode), *middle[1:], same)


def same_tokens(ours: Sequence[int], theirs: Sequence[int], ends: Sequence[int]) -> tuple[int, int]:
    """How many agree from the start, of how many. Not counted is what follows an end of turn that
    the other has let pass: we are kept from all ends, the tools from the one they know."""
    num = next((at for at, token in enumerate(theirs) if token in ends), len(theirs))
    same = next((at for at in range(num) if ours[at] != theirs[at]), num)
    return same, num


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folders", type=Path, nargs="+", metavar="FOLDER", default=())
    parser.add_argument("--optimum-python", help="of an environment with optimum-onnx")
    parser.add_argument(
        "--genai-python", default=sys.executable, help="of one with onnxruntime-genai"
    )
    parser.add_argument("--threads", type=int, default=1, help="of every system")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--decode", type=int, default=64, help="new tokens")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt, about")


BENCH = Bench("foreign_onnx", __doc__.splitlines()[0], _add_options, measure)

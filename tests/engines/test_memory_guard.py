"""What the memory guard expects a model to take is what the process takes, with 64 requests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT

SIDE_BY_SIDE = 64
CHILD = """
import json, re, sys
from edgereason import MemoryLimitError, Reasoner

model, options = sys.argv[1], json.loads(sys.argv[2])

def taken(key):
    return int(re.search(key + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

try:
    Reasoner.open(model, memory_gib=1e-6, **options)
except MemoryLimitError as error:
    expected = int(re.search(r"needs (\\d+) MiB", str(error))[1])
with Reasoner.open(sys.argv[3]) as scripted:  # all modules and workers are there
    scripted.ask("What is 17 * 3?")
before = taken("VmRSS")
with Reasoner.open(model, **options) as reasoner:
    def question(number, num_tokens):
        text = f"{number}"
        while len(reasoner.prompt_tokens(text)) < num_tokens:
            text += f" + {len(text)}" * (1 + num_tokens // 64)
        return text

    keywords = {"think_budget": 4, "answer_budget": 2}
    reasoner.ask(question(1, int(sys.argv[4])), **keywords)  # alone it is read in whole steps
    each = options["context"] // options["sequences"] - 8
    handles = [
        reasoner.submit(question(n, each), **keywords) for n in range(options["sequences"])
    ]
    for handle in handles:
        handle.result()
print(json.dumps([expected, taken("VmHWM") - before]))
"""


def taken(model: str, context: int, kv: str, longest: int) -> tuple[float, float]:
    """MiB that are expected, and that a process of its own took at most. `longest`: tokens of a
    prompt that is read before.
    """
    options = {"context": context, "kv": kv, "sequences": SIDE_BY_SIDE, "threads": 1}
    scripted = str(ROOT / "examples" / "scripted")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, model, json.dumps(options), scripted, str(longest)],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    expected, found = json.loads(done.stdout.splitlines()[-1])
    return expected, found


@pytest.mark.parametrize("kv", ["f16", "q8_0"])
def test_a_small_model_takes_what_is_expected(kv: str) -> None:
    expected, found = taken("nano", 8192, kv, longest=7600)
    assert 0.9 * found < expected < 1.1 * found


@pytest.mark.model
@pytest.mark.parametrize("kv", ["f16", "q8_0"])
def test_a_model_takes_what_is_expected(smollm2: Path, kv: str) -> None:
    expected, found = taken(str(smollm2), 3072, kv, longest=600)
    assert 0.9 * found < expected < 1.1 * found

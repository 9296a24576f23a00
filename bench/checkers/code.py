"""A Python function that passes its test, run in a child process with limits of time and memory.

The model's code is the last fenced block that defines the function or, without one, the body that
goes on from the question. The child is no wall against a program written to break out; see
`edgereason/runtime/sandbox.py`.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Final

from edgereason.runtime.sandbox import run_program
from edgereason.strategies.base import Call

from ..tasks.base import Item

_CHILD: Final = Path(__file__).with_name("_code_child.py")
_SECONDS: Final = 10.0
_MEMORY_MIB: Final = 1024
_FENCE: Final = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def ask(item: Item) -> str:
    return (
        f"Complete this Python function. Answer with the whole function in one code block.\n\n"
        f"```python\n{item.question.rstrip()}\n```"
    )


def check(item: Item, text: str) -> bool:
    name = str(item.extra["entry_point"])
    return any(_passes(item, source, name) for source in _candidates(item.question, text, name))


def _passes(item: Item, source: str, name: str) -> bool:
    program = (
        f"{source}\n\n{item.extra['test']}\n\n"
        f"def _verdict():\n    check({name})\n    return 'passed'\n"
    )
    call = Call(program, "_verdict", _SECONDS, _MEMORY_MIB)
    return run_program(call, script=_CHILD).value == "passed"


def _candidates(question: str, text: str, name: str) -> list[str]:
    """Programs that the text may mean, the likeliest first; at most two are run.

    A whole function stands behind what the question begins with, such as its imports and helpers.
    """
    blocks = _FENCE.findall(text)
    whole = [block for block in blocks if re.search(rf"^def {re.escape(name)}\b", block, re.M)]
    head, _, _ = question.rpartition(f"def {name}")
    if whole:
        return [f"{head}\n{whole[-1]}"]
    body = blocks[-1] if blocks else text
    if re.search(rf"^def {re.escape(name)}\b", body, re.M):
        return [f"{head}\n{body}"]
    indented = textwrap.indent(textwrap.dedent(body), "    ")
    return [f"{question.rstrip()}\n{body}", f"{question.rstrip()}\n{indented}"]

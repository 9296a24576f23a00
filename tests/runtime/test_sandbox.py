"""Programs in a child process: what comes back, and what they cannot do."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.runtime.sandbox import run_program
from edgereason.strategies.base import Call


def run(body: str, **limits: float) -> tuple[str, str]:
    call = Call(body, **limits)  # type: ignore[arg-type]  # memory_mib is an int where it is given
    returned = run_program(call)
    return returned.value, returned.error


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("def solution():\n    return 3 * 12 - 5", "31"),
        ("def solution():\n    return 20 * 0.75 * 2", "30"),
        ("def solution():\n    return 0.1 + 0.2", "0.3"),
        ("import math\ndef solution():\n    return math.gcd(12, 18)", "6"),
        ("from fractions import Fraction\ndef solution():\n    return Fraction(1, 3)", "1/3"),
        ("def solution():\n    total = 0\n    for _ in range(3):\n        total += 2\n"
         "    return total", "6"),
        ("def solution():\n    été = 3\n    return été * 2", "6"),
    ],
)  # fmt: skip
def test_what_a_program_returns_is_written_as_people_do(body: str, value: str) -> None:
    assert run(body) == (value, "")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("def solution():\n    return open('/etc/passwd').read()", "'open' is not defined"),
        ("import os\ndef solution(): return os.getcwd()", "import of os is not allowed"),
        ("import socket\ndef solution(): return 1", "import of socket is not allowed"),
        ("def solution(): return ().__class__.__bases__", "is not allowed"),
        ("def solution(): return __builtins__", "__builtins__ is not allowed"),
        ("import fractions\ndef solution(): return fractions.sys.modules", "no attribute 'sys'"),
        ("def solution():\n    g = (g.gi_frame for _ in [1])\n    return g", "gi_frame is not"),
        ("def solution(): return getattr(1, 'real')", "'getattr' is not defined"),
        ("def solution(): return 1 / 0", "ZeroDivisionError"),
        ("def solution(: 1", "SyntaxError"),
        ("x = 1", "there is no function solution"),
        ("def solution(): pass", "it returned nothing"),
        ("def solution(): return [1] * 5000", "it returned too much"),
        ("def solution(): return [0] * 10**9", "MemoryError"),
    ],
)
def test_what_it_may_not_do_is_told(body: str, error: str) -> None:
    value, why = run(body)
    assert value == ""
    assert error in why


@pytest.mark.parametrize("body", ["while True: pass", "return 10 ** 10 ** 9"])
def test_a_program_without_an_end_is_ended(body: str) -> None:
    begin = time.monotonic()
    assert run(f"def solution():\n    {body}", seconds=0.4) == ("", "the program took too long")
    assert time.monotonic() - begin < 5


def test_the_kernel_holds_the_limits_of_an_unchecked_program() -> None:
    """Whatever got past the check: no file can be opened, no socket, and the environment is empty.

    The child is asked to run its own limits without its check of names.
    """
    import subprocess
    import sys

    from edgereason.runtime import sandbox_child

    tried = (
        "import json, os, resource, runpy, socket, sys\n"
        f"child = runpy.run_path({sandbox_child.__file__!r})\n"
        "child['limit'](resource.RLIMIT_NOFILE, 3)\n"
        "told = [sorted(os.environ)]\n"
        "for attempt in (lambda: open('x', 'w'), lambda: open('/etc/passwd'), socket.socket):\n"
        "    try:\n"
        "        attempt()\n"
        "        told.append('it could')\n"
        "    except OSError as error:\n"
        "        told.append(error.errno)\n"
        "sys.stdout.write(json.dumps(told))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", tried],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.endswith("24, 24, 24]")  # EMFILE


def test_no_time_left_runs_nothing() -> None:
    returned = run_program(Call("def solution(): return 1"), left=0)
    assert (returned.value, returned.error) == ("", "no time was left to run the program")
    assert returned.was_cut


def test_a_cancelled_request_ends_its_program() -> None:
    begin = time.monotonic()
    call = Call("def solution():\n    while True: pass", seconds=30)
    returned = run_program(call, stopped=lambda: True)
    assert (returned.error, returned.was_cut) == ("the request was cancelled", True)
    assert run_program(call, left=0.2).was_cut
    assert not run_program(replace(call, seconds=0.2), left=5).was_cut
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("print(17 * 3)", "51"),
        ("x = 17\nx * 3", "51"),
        ("print('a', 'b', sep='-', end='!')\n5", "a-b!"),
        ("for i in range(3):\n    print(i)", "0\n1\n2"),
        ("import math\nmath.sqrt(16)", "4"),
    ],
)
def test_without_a_function_it_tells_what_it_prints(source: str, value: str) -> None:
    assert run_program(Call(source, "")).value == value


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("x = 1", "it printed nothing"),
        ("", "it printed nothing"),
        ("print()", "it printed nothing"),
        ("print(", "SyntaxError"),
        ("print(unknown)", "NameError"),
        ("print(open('/etc/passwd'))", "NameError"),
        ("import os\nprint(os.listdir())", "PermissionError"),
    ],
)
def test_without_a_function_errors_are_told(source: str, error: str) -> None:
    assert error in run_program(Call(source, "")).error


def test_printing_without_end_is_bounded() -> None:
    assert run_program(Call("print('x' * 10**6)", "")).value == "x" * 1000
    assert "too long" in run_program(Call("while True: print('y' * 1000)", "", seconds=0.5)).error


# Known ways out of a Python in Python, and what comes to mind beside them.
ESCAPES = """
import os; os.system('touch escaped')
import subprocess; subprocess.run(['touch', 'escaped'])
import sys; sys.exit(0)
import socket; socket.socket()
import ctypes; ctypes.string_at(0)
import importlib; importlib.import_module('os')
import builtins; builtins.open('escaped', 'w')
import io; io.open('escaped', 'w')
import collections.abc; collections.abc.sys
import math as os; os.system('touch escaped')
from os import system; system('touch escaped')
from math import __loader__ as l; l.load_module('os')
from . import os
from functools import sys; sys.exit(0)
from collections import _sys; _sys.exit(0)
__import__('os').system('touch escaped')
__builtins__['__import__']('os')
__loader__.load_module('os')
open('escaped', 'w').write('x')
eval('1 + 1'); exec('x = 1')
exec('import os')
compile('1', 'x', 'eval')
globals()['__builtins__']
vars(math)
dir(math)
getattr(math, '__loader__')
setattr(math, 'x', 1); print(type(math))
input()
breakpoint()
memoryview(b'x')
().__class__.__base__.__subclasses__()
''.__class__.__mro__[1].__subclasses__()
[].__class__.__base__
{}.__class__.__bases__
(1).__class__.__base__
(lambda: 0).__globals__['sys']
(lambda: 0).__code__.replace(co_code=b'')
(lambda: 0).__closure__
print.__call__.__globals__
print.__init__.__func__.__globals__['sys']
math.sqrt.__self__.__loader__
itertools.count.__new__(itertools.count)
functools.partial(print).__reduce__()
functools.reduce.__self__
fractions.Fraction.__add__.__globals__
fractions.Fraction(1)._operator_fallbacks
collections.Counter.__init__.__globals__
collections.Counter().__missing__
(x for x in ()).gi_frame.f_back.f_globals
(x for x in ()).gi_code.co_consts
(x for x in ()).g\uff49_frame.f_b\uff41ck.f_globals
(lambda: 0)._\uff3fglobals__
f = lambda: 0; f.__defaults__
f"{().__class__}"
try: 1 / 0~except Exception as e: e.__traceback__.tb_frame.f_back
try: 1 / 0~except Exception as e: print(e.tb_frame)
match 1:~    case int(__class__=c): print(c)
match 1:~    case int(real=int(__reduce_ex__=r)): print(r(2))
match ValueError():~    case Exception(__traceback__=t): print(t)
class A: pass
class A(Exception): pass~raise A
async def f(): pass~f().cr_frame
with open('escaped', 'w') as f: print(f)
raise SystemExit
raise KeyboardInterrupt
'x' * 10 ** 10
[0] * 10 ** 10
list(range(10 ** 10))
''.join(map(str, range(10 ** 9)))
'{:>1000000000}'.format(1)
print(sep='x' * 10 ** 10)
""".strip().split("\n")


@pytest.mark.parametrize("source", ESCAPES)
def test_it_does_not_get_out(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    returned = run_program(Call(source.replace("~", "\n"), "", seconds=5))
    assert returned.error
    assert not returned.value
    assert not any(tmp_path.iterdir())


def test_a_format_tells_text_and_nothing_that_can_be_used() -> None:
    assert run_program(Call("'{0.__class__}'.format(1)", "")).value == "<class 'int'>"

"""What the header promises, and what tools say about it: valgrind, and sanitizers.

    make c-checks       # EDGEREASON_TEST_LLAMA=FOLDER pytest tests/capi/test_checks.py

EDGEREASON_TEST_LLAMA is where a llama.cpp without the newest instructions was installed: valgrind
does not know AVX-512. Without it the sanitizers, which take a build each, are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgereason.export.plans.chain import Way
from edgereason.records import Budget
from support.c_programs import CAPI, bundled_prefix, compiled, done, gguf, install
from support.places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

Compile = Callable[[str], Path]
Plans = Callable[..., Path]
LLAMA = os.environ.get("EDGEREASON_TEST_LLAMA", "")
PLAIN = f"-DEDGEREASON_LLAMA_PREFIX={LLAMA}"
ANSWER = ROOT / "examples" / "c" / "answer.c"
# Of a libgomp that is done the threads of a pool are left, and what belongs to them.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
NOTHING = "0 allocations, 0 frees, 0 locks besides that of er_get_stats, 0 page faults\n"


def contract(plan: Plans) -> list[str]:
    """What contract.c is given."""
    made = plan("nano", Way("think", probe_every=4))
    changed = json.loads(made.read_text(encoding="utf-8"))
    changed["checks"][0]["tokens"][0] += 1
    other = made.with_name("other.json")
    other.write_text(json.dumps(changed))
    return [str(part) for part in (gguf("nano"), made, other, bundled_prefix("nano"))]


def test_what_the_header_promises_holds(program: Compile, plan: Plans) -> None:
    assert done(program("contract"), *contract(plan)) == "all hold\n"


def test_polling_neither_allocates_nor_locks_nor_touches_new_pages(
    program: Compile, plan: Plans
) -> None:
    made = plan("nano", Way("think", probe_every=4))
    assert done(program("real_time"), gguf("nano"), made) == NOTHING


# --- valgrind -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def under_valgrind(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What a program prints that valgrind finds nothing in."""
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    prefix = install("c-plain", PLAIN) if LLAMA else install("c")
    folder = tmp_path_factory.mktemp("valgrind")

    def run(source: Path, *arguments: str | Path) -> str:
        program = compiled(source, folder / source.stem, prefix)
        ran = subprocess.run(
            ["valgrind", "--quiet", "--fair-sched=yes", "--error-exitcode=9", "--leak-check=full",
             "--errors-for-leak-kinds=definite", str(program), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **ONE_THREAD},
            check=False,
        )  # fmt: skip
        if "SIGILL" in ran.stderr:
            pytest.skip("valgrind does not know an instruction of this libllama: make c-checks")
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def test_valgrind_finds_nothing(under_valgrind: Callable[..., str], plan: Plans) -> None:
    assert under_valgrind(CAPI / "contract.c", *contract(plan), "2") == "all hold\n"


def test_valgrind_finds_nothing_in_latent_steps(
    under_valgrind: Callable[..., str], plan: Plans
) -> None:
    made = plan("nano-coconut", Way("coconut"))
    question = "Every wumpus is a zumpus. Sam is a wumpus. Is Sam a zumpus or a yumpus?"
    assert under_valgrind(ANSWER, gguf("nano-coconut"), made, question, "600000").strip()


@pytest.mark.model
def test_valgrind_finds_nothing_with_smollm2(
    under_valgrind: Callable[..., str], plan: Plans, smollm2: Path
) -> None:
    made = plan(str(smollm2), Way("think", budget=Budget(think_tokens=8)))
    assert under_valgrind(ANSWER, smollm2, made, "What is 2+3?", "3000000").strip()


# --- sanitizers -----------------------------------------------------------------------------------

SANITIZERS = {
    "address,undefined": {"ASAN_OPTIONS": "detect_leaks=1"},
    "thread": {"TSAN_OPTIONS": f"suppressions={CAPI / 'threads.supp'}"},
}


@pytest.fixture(scope="module", params=SANITIZERS)
def sanitized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """What a program prints that was built with a sanitizer, as the library was."""
    if not LLAMA:
        pytest.skip("needs EDGEREASON_TEST_LLAMA: make c-checks")
    name: str = request.param
    build = "c-" + name.split(",", maxsplit=1)[0]
    tests = ("conversation_test", "request_test")
    prefix = install(build, PLAIN, f"-DEDGEREASON_SANITIZE={name}", targets=("edgereason", *tests))
    folder = tmp_path_factory.mktemp("sanitized")
    env = {**os.environ, **ONE_THREAD, **SANITIZERS[name]}
    for test in tests:
        done(ROOT / "build" / build / "native" / "tests" / test, env=env)

    def run(source: Path, *arguments: str | Path) -> str:
        flags = (f"-fsanitize={name}", "-fno-sanitize-recover=all")
        return done(compiled(source, folder / source.stem, prefix, *flags), *arguments, env=env)

    return run


def test_sanitizers_find_nothing(sanitized: Callable[..., str], plan: Plans) -> None:
    made = plan("nano", Way("think", probe_every=4))
    assert sanitized(CAPI / "contract.c", *contract(plan)) == "all hold\n"
    assert sanitized(CAPI / "real_time.c", gguf("nano"), made) == NOTHING
    assert sanitized(ANSWER, gguf("nano"), made, "What is 47+8-23?", "60000") == "32\n"
    latent = plan("nano-coconut", Way("coconut"))
    assert sanitized(ANSWER, gguf("nano-coconut"), latent, "Is Sam a wumpus?", "60000").strip()


@pytest.mark.model
def test_sanitizers_find_nothing_with_smollm2(
    sanitized: Callable[..., str], plan: Plans, smollm2: Path
) -> None:
    made = plan(str(smollm2), Way("think"))
    assert sanitized(ANSWER, smollm2, made, "Why do ships float?", "6000").strip()

"""The C library: built, installed, linked and run as a program in C would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgereason.export.plans.chain import Way
from support.c_programs import done, gguf
from support.places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = ROOT / "examples" / "c"
CONTEXT = 2048  # as tokens.c opens it
Compile = Callable[[str], Path]
Plans = Callable[..., Path]


def test_the_library_needs_no_python_and_shows_its_own_names_only(installed: Path) -> None:
    library = installed / "lib" / "libedgereason.so"
    needed = done("ldd", library)
    assert "python" not in needed.lower()
    assert f"{installed / 'lib' / 'edgereason'}/libllama.so.0" in needed
    assert "not found" not in needed
    names = [line.split()[-1] for line in done("nm", "-D", "--defined-only", library).splitlines()]
    assert "er_poll" in names
    assert [name for name in names if not name.startswith("er_")] == []


def test_the_headers_are_c99_and_cpp17(installed: Path, tmp_path: Path) -> None:
    include = f"-I{installed / 'include'}"
    one, two = tmp_path / "one.c", tmp_path / "two.cc"
    one.write_text("#include <edgereason.h>\nint main(void) { return er_version() == 0; }\n")
    two.write_text(
        "#include <edgereason.hpp>\n"
        "int main(int, char** argv) {\n"
        "  er::Model model(argv[1], {argv[2]});\n"
        '  er::Request request = model.Submit("What is 47+8-23?");\n'
        "  return request.Wait().num_answer_bytes == 0;\n}\n"
    )
    done("cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", one, include,
         "-o", tmp_path / "one.o")  # fmt: skip
    done("c++", "-std=c++17", "-Wall", "-Wpedantic", "-Werror", "-c", two, include,
         "-o", tmp_path / "two.o")  # fmt: skip


def answered(program: Path, model: Path, plan: Path, deadline_ms: int) -> str:
    ran = subprocess.run(
        [str(program), str(model), str(plan), "What is 47+8-23?", str(deadline_ms)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "late by 0.0 ms" in ran.stderr
    return ran.stdout.strip()


def test_the_example_answers_in_time_linked_by_cmake(
    installed: Path, plan: Plans, tmp_path: Path
) -> None:
    assert (EXAMPLE / "answer.c").read_text().count("\n") <= 60
    done("cmake", "-S", EXAMPLE, "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={installed}")
    done("cmake", "--build", tmp_path)
    made = plan("nano-coconut", Way("coconut"))
    assert answered(tmp_path / "answer", gguf("nano-coconut"), made, 20_000)


def test_the_example_answers_in_time_linked_by_pkg_config(
    installed: Path, plan: Plans, tmp_path: Path
) -> None:
    if shutil.which("pkg-config") is None or shutil.which("make") is None:
        pytest.skip("needs pkg-config and make")
    for name in ("answer.c", "Makefile"):
        shutil.copy(EXAMPLE / name, tmp_path)
    paths = {"PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig")}
    done("make", cwd=tmp_path, env={**os.environ, **paths})
    assert answered(tmp_path / "answer", gguf("nano"), plan("nano", Way("think")), 20_000) == "32"


@pytest.mark.model
def test_the_example_answers_in_time_with_smollm2(
    installed: Path, smollm2: Path, plan: Plans, tmp_path: Path
) -> None:
    done("cmake", "-S", EXAMPLE, "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={installed}")
    done("cmake", "--build", tmp_path)
    assert answered(tmp_path / "answer", smollm2, plan(str(smollm2), Way("think")), 20_000)


def test_the_program_of_the_page_runs(installed: Path, tmp_path: Path) -> None:
    """What docs/c.md tells to type, in its order."""
    page = (ROOT / "docs" / "c.md").read_text(encoding="utf-8")
    source = page.split("```c\n")[1].split("```")[0]
    commands = page.split("```sh\n")[1].split("```")[0]
    (tmp_path / "ask.c").write_text(source)
    paths = {
        "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell = commands.replace("$PREFIX", str(installed)).replace("nano.gguf", str(gguf("nano")))
    out = done("sh", "-euc", shell, cwd=tmp_path, env={**os.environ, **paths})
    assert out.splitlines()[-1] == "32"

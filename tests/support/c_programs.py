"""Builds the C library and programs that use it, and runs the tools for that."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from support.places import ROOT

CAPI = ROOT / "tests" / "capi"
STRICT = ("-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def done(
    *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """What a command prints; a failure is that of the test."""
    ran = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )
    assert ran.returncode == 0, f"{command[0]} gave {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def gguf(model: str) -> Path:
    return model_file(open_bundle(resolve(model)))


def bundled_prefix(model: str) -> Path:
    return sorted((open_bundle(resolve(model)).path / "prefixes").glob("*.safetensors"))[0]


def install(folder: str, *definitions: str, targets: Sequence[str] = ("edgereason",)) -> Path:
    """Builds the library in `build/folder` and installs it there, as a user would. Skips where it
    cannot be built."""
    for tool in ("cmake", "ninja", "c++", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"the C library is built with {tool}, which is not here")
    build = ROOT / "build" / folder
    python = f"-DPython_EXECUTABLE={sys.executable}"
    ran = subprocess.run(
        ["cmake", "--preset", "c", "-B", str(build), python, *definitions],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "nlohmann" in ran.stderr:
        pytest.skip("the C library needs the package nlohmann-json3-dev")
    assert ran.returncode == 0, ran.stderr
    done("cmake", "--build", build, "--target", *targets)
    prefix = build / "install"
    done("cmake", "--install", build, "--component", "c", "--prefix", prefix)
    return prefix


def compiled(source: Path, out: Path, prefix: Path, *flags: str) -> Path:
    """A program in C, linked to the library that is installed at `prefix`."""
    library = prefix / "lib"
    done(
        "cc", *STRICT, "-g", "-O1", *flags, source, "-o", out, f"-I{prefix / 'include'}",
        f"-L{library}", "-ledgereason", f"-Wl,-rpath,{library}",
        f"-Wl,-rpath-link,{library / 'edgereason'}", "-lm", "-lpthread", "-ldl",
    )  # fmt: skip
    return out

"""Builds and installs the C library once, as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgereason.export.plans.chain import Way
from edgereason.export.plans.plan import write_plan
from support.c_programs import done
from support.places import ROOT

BUILD = ROOT / "build" / "c"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where the library is installed. Skips where it cannot be built."""
    for tool in ("cmake", "ninja", "c++", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"the C library is built with {tool}, which is not here")
    ran = subprocess.run(
        ["cmake", "--preset", "c", f"-DPython_EXECUTABLE={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "nlohmann" in ran.stderr:
        pytest.skip("the C library needs the package nlohmann-json3-dev")
    assert ran.returncode == 0, ran.stderr
    done("cmake", "--build", BUILD, "--target", "edgereason")
    prefix = BUILD / "install"
    done("cmake", "--install", BUILD, "--component", "c", "--prefix", prefix)
    return prefix


@pytest.fixture(scope="session")
def program(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A program of this folder, compiled against what is installed."""

    def compiled(name: str) -> Path:
        out = tmp_path_factory.getbasetemp() / name
        if not out.exists():
            library = installed / "lib"
            done(
                "cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic",
                "-Werror", "-g", "-O1", HERE / f"{name}.c", "-o", out, f"-I{installed / 'include'}",
                f"-L{library}", "-ledgereason", f"-Wl,-rpath,{library}",
                f"-Wl,-rpath-link,{library / 'edgereason'}", "-lm", "-lpthread", "-ldl",
            )  # fmt: skip
        return out

    return compiled


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The plan of a way, for a model."""
    folder = tmp_path_factory.mktemp("plans")

    def written(model: str, way: Way) -> Path:
        out = folder / f"{len(list(folder.iterdir()))}.json"
        write_plan(way, model, out)
        return out

    return written

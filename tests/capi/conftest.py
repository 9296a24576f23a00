"""The C library as it is installed, its programs, and plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgereason.export.plans.chain import Way
from edgereason.export.plans.plan import write_plan
from support.c_programs import CAPI, compiled, install


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where the library is installed."""
    return install("c")


@pytest.fixture(scope="session")
def program(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A program of this folder."""

    def made(name: str) -> Path:
        out = tmp_path_factory.getbasetemp() / name
        return out if out.exists() else compiled(CAPI / f"{name}.c", out, installed)

    return made


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The plan of a way, for a model."""
    folder = tmp_path_factory.mktemp("plans")

    def written(model: str, way: Way) -> Path:
        out = folder / f"{len(list(folder.iterdir()))}.json"
        write_plan(way, model, out)
        return out

    return written

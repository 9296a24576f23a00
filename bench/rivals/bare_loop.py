"""The bare loop over libllama, `native/bench/decode_bench.cc`, as a program: built and run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgereason.errors import UnsupportedError

from ..harness.runner import checkout


@dataclass(frozen=True, slots=True)
class BareLoop:
    """The built program and the model it opens."""

    program: Path
    model: Path

    def __call__(self, **options: int) -> dict[str, Any]:
        """Runs it once, e.g. `prompt=64, decode=128, threads=2, batch=8`; its JSON object."""
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        done = subprocess.run(
            [str(self.program), str(self.model), *flags],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise UnsupportedError(f"{self.program.name} failed: {done.stderr.strip()}")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures


@contextlib.contextmanager
def bare_loop(model: Path, program: Path | None = None) -> Iterator[BareLoop]:
    """The bare loop on `model`; without a `program` it is built first."""
    with tempfile.TemporaryDirectory() as folder:
        yield BareLoop(program or _build(Path(folder)), model)


def _build(folder: Path) -> Path:
    """Compiles it into `folder`, against the libllama that the native engine loads."""
    source = checkout() / "native" / "bench" / "decode_bench.cc"
    if not source.is_file():
        raise UnsupportedError(
            "the bare loop can only be built from a checkout", "or give its path: --decode-bench"
        )
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise UnsupportedError("no C++ compiler found to build the bare loop", "set CXX")
    spec = find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError("llama-cpp-python is not installed")
    package = Path(spec.submodule_search_locations[0])
    program = folder / "decode_bench"
    libraries = package / "lib"
    command = [
        compiler,
        "-std=c++20",
        "-O3",
        f"-I{package.parent / 'include'}",
        str(source),
        f"-L{libraries}",
        "-lllama",
        "-lggml-base",
        f"-Wl,-rpath,{libraries}",
        "-o",
        str(program),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise UnsupportedError(f"cannot build the bare loop: {done.stderr.strip()[-500:]}")
    return program

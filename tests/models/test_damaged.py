"""A damaged GGUF ends in an error of ours, never in the end of the process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# One process opens a model many times, each time with one byte of its header changed. libllama
# aborts on some of them by itself; then so would this process.
FLIPS = """
import random, sys
from edgereason import _core
from edgereason.errors import BundleError, EdgereasonError

path, header = sys.argv[1], int(sys.argv[2])
known = [(488, 255), (781, 255), (1846, 81), (2179, 75), (464283, 104)]  # aborted libllama once
rng = random.Random(5)
flips = known + [(rng.randrange(header), rng.randrange(256)) for _ in range(60)]
refused = 0
with open(path, "r+b", buffering=0) as file:
    for offset, value in flips:
        file.seek(offset)
        before = file.read(1)
        file.seek(offset)
        file.write(bytes([value]))
        try:
            engine = _core.LlamaEngine(path, context=256, max_threads=1)
            engine.decode([(0, 0, 1, False), (0, 1, 2, True)])
        except EdgereasonError as error:
            refused += isinstance(error, BundleError)
        file.seek(offset)
        file.write(before)
print(refused)
"""

HEADER_BYTES = 1_785_664  # where the weights of SmolLM2 begin


@pytest.mark.model
def test_flipped_bytes_in_the_header(smollm2: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged.gguf"
    shutil.copyfile(smollm2, copy)
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, str(copy), str(HEADER_BYTES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) > 10

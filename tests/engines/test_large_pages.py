"""Memory that was allocated in between lies in large pages afterwards."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

import pytest

from edgereason.engines.graph import large_pages
from edgereason.engines.graph.large_pages import Mapping, new_parts

MIB = 2**20


def test_what_is_new_and_full() -> None:
    before = [Mapping(0, 8 * MIB, 4 * MIB), Mapping(100 * MIB, 110 * MIB, 10 * MIB)]
    after = [
        Mapping(0, 8 * MIB, 4 * MIB),  # was there
        Mapping(20 * MIB + 4096, 29 * MIB, 9 * MIB - 4096),  # new, cut to whole pages
        Mapping(40 * MIB, 60 * MIB, 4 * MIB),  # new, and hardly used
        Mapping(80 * MIB, 81 * MIB, MIB),  # new, and small
        Mapping(100 * MIB, 121 * MIB, 20 * MIB),  # has grown
    ]
    assert new_parts(before, after) == [(22 * MIB, 28 * MIB), (110 * MIB, 120 * MIB)]


def can_collapse() -> bool:
    """Whether this system makes pages large when it is told to, asked without our code."""
    memory = mmap.mmap(-1, 8 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(bytes(8 * MIB))
    view = ctypes.c_char.from_buffer(memory)
    first = -(-ctypes.addressof(view) // (2 * MIB)) * 2 * MIB
    madvise = ctypes.CDLL(None).madvise
    done = madvise(ctypes.c_void_p(first), ctypes.c_size_t(4 * MIB), ctypes.c_int(25))
    del view
    memory.close()
    return bool(done == 0)


def test_pages_become_large() -> None:
    if not can_collapse():
        pytest.skip("this system has no pages of 2 MiB, or makes none at once: Linux before 6.1")
    with large_pages.large_pages():
        memory = mmap.mmap(-1, 16 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.write(bytes(16 * MIB))
    large = re.findall(r"AnonHugePages: +(\d+) kB", Path("/proc/self/smaps").read_text())
    assert sum(map(int, large)) >= 12 * 1024
    memory.close()


def test_where_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(large_pages, "_MAPS", tmp_path / "none")
    with large_pages.large_pages():
        pass

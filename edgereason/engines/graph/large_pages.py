"""Large pages for weights that a library of others has put into memory.

    with large_pages():
        session = InferenceSession(...)

A token reads all weights, and in pages of 4 KiB a fifth of its time goes into finding them. Linux
is asked to put what was allocated in between into pages of 2 MiB, at once (6.1 and later) or as it
gets to it. Knows no library. Where the system has no such pages, nothing happens.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

_MAPS: Final = Path("/proc/self/smaps")
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 +(\[heap\])?$")
_PAGE: Final = 2 * 2**20
_FULL: Final = 0.9  # of a mapping is in memory: less would make large what nobody has asked for
_HUGEPAGE, _COLLAPSE = 14, 25  # of madvise


class Mapping(NamedTuple):
    """A piece of memory that belongs to no file, and how much of it is in use."""

    start: int
    end: int
    resident_bytes: int


@contextmanager
def large_pages() -> Iterator[None]:
    """For what is allocated inside and is still there at the end."""
    before = _mappings()
    yield
    for start, end in new_parts(before, _mappings()):
        _advise(start, end)


def new_parts(before: list[Mapping], after: list[Mapping]) -> list[tuple[int, int]]:
    """Whole large pages of what is full, and either new or has grown at its end."""
    known = {mapping.start: mapping for mapping in before}
    found = []
    for start, end, resident_bytes in after:
        _, begin, resident_before = known.get(start, (start, start, 0))
        if resident_bytes - resident_before < _FULL * (end - begin):
            continue
        first, last = -(-begin // _PAGE) * _PAGE, end // _PAGE * _PAGE
        if first < last:
            found.append((first, last))
    return found


def _mappings() -> list[Mapping]:
    try:
        lines = _MAPS.read_text(errors="replace").splitlines()
    except OSError:  # not Linux, or hidden
        return []
    found: list[Mapping] = []
    place: tuple[int, int] | None = None
    for line in lines:
        if match := _MAPPING.match(line):
            place = (int(match[1], 16), int(match[2], 16))
        elif line.startswith("Rss:") and place:
            found.append(Mapping(*place, 1024 * int(line.split()[1])))
            place = None
        elif "-" in line.split(" ", 1)[0]:
            place = None
    return found


def _advise(start: int, end: int) -> None:
    """What the system cannot do, for want of memory or of such pages, stays as it is."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for advice in (_HUGEPAGE, _COLLAPSE):
        madvise(start, end - start, advice)

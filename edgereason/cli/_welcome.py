"""`edgereason` alone in a terminal: what is here, and what one can do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgereason import __version__
from edgereason.cli._options import DEFAULT_MODEL
from edgereason.errors import EdgereasonError

_QUESTION: Final = '"What is 17 * 3?"'
_MOST_SHOWN: Final = 3
_CLASSES: Final = (1, 4.5, 1000)  # 1e9 parameters, at most
_SHARE: Final = 0.7  # of what is free, so that other programs keep some


def lines() -> Iterator[str]:
    """Reads names and sizes only: no model is opened, nothing is fetched."""
    from edgereason.models.hub import EMBEDDED, cached

    yield f"edgereason {__version__}: the right answer out of a small reasoning model, in time"
    yield ""
    pulled = [name for name, path in cached().items() if path.parent != EMBEDDED]
    elsewhere = _elsewhere()
    if pulled:
        yield f"Models here: {', '.join(pulled)}"
        yield from _with_model(DEFAULT_MODEL if DEFAULT_MODEL in pulled else pulled[0])
    elif elsewhere:
        yield f"Models of other programs, which open where they lie: {', '.join(elsewhere)}"
        yield from _with_model(elsewhere[0])
    else:
        yield "No model yet but the tiny ones that come along. Try one at once:"
        yield '  edgereason run -m nano "What is 47+8-23?" --strategy think'
    fitting = _fitting(set(pulled))
    if fitting:
        yield ""
        yield "Reasoning models that fit into the memory that is free, not tried by this project:"
        for name, about in fitting:
            yield f"  edgereason pull {name:<26} {about}"
    if not pulled:
        yield ""
        yield "The model that everything was tried with, 98 MB, often wrong:"
        yield f"  edgereason pull {DEFAULT_MODEL}"
    yield ""
    yield "edgereason doctor    is this machine ready, and how fast"
    yield "edgereason list      all models that have a name"
    yield "edgereason --help    all commands"


def _with_model(name: str) -> Iterator[str]:
    yield f"  edgereason run -m {name} {_QUESTION} --think-budget 256"
    yield f"  edgereason run -m {name} {_QUESTION} --deadline-ms 5000"
    yield f"  edgereason chat -m {name}"
    yield f"  edgereason serve {name}"


def _elsewhere() -> list[str]:
    from edgereason.models.stores import find_all

    found = (each.name for each in find_all() if not each.why_not)
    return [name for _, name in zip(range(_MOST_SHOWN), found, strict=False)]


def _fitting(here: set[str]) -> list[tuple[str, str]]:
    """The largest of the catalog whose four bits fit, of a few classes of size: on a processor
    alone a small one answers sooner."""
    from edgereason.models.catalog import catalog, fits, free_bytes

    try:
        free = free_bytes()
    except (EdgereasonError, ImportError):  # the native core does not load: doctor says why
        return []
    known = [
        (entry.parameters, name, entry.about)
        for name, entry in catalog().items()
        if name not in here and fits(entry, round(free * _SHARE))
    ]
    best = [max((each for each in known if each[0] <= most), default=None) for most in _CLASSES]
    return [(each[1], each[2]) for each in dict.fromkeys(best) if each is not None]

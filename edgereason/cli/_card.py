"""What the catalog knows of a model that is not here, and where one that is here comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle
    from edgereason.models.catalog import Entry


def rows(name: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """For `show` of what was not pulled."""
    from edgereason.models.catalog import by_memory

    yield "name", name
    yield "here", f"no: edgereason pull {name}"
    yield "about", entry.about
    yield "base model", entry.origin
    yield "from", entry.source + (f", {entry.file}" if entry.file else "")
    yield "licence", entry.licence
    yield "parameters", f"{entry.parameters:g} B" if entry.parameters else ""
    yield "context", f"{entry.context:,} tokens" if entry.context else "unknown"
    yield "thinks", entry.thinks
    if entry.weights == "gguf":
        told = (f"{gib} GiB: {format or 'none'}" for gib, format in by_memory(entry).items())
        yield "takes of", ", ".join(told) + " (where so much is free; by the number of weights)"
    else:
        yield "weights", f"{entry.weights}: edgereason export {entry.source} --to gguf --out FOLDER"
    yield "measured", entry.measured or "nothing that could be looked up"
    yield "tried here", entry.tried or "nothing"
    for source in entry.sources:
        yield "source", source


def to_dict(name: str, entry: Entry) -> dict[str, Any]:
    from edgereason.models.catalog import by_memory

    return {"name": name, "cached": False, "fits": by_memory(entry)} | asdict(entry)


def origin(bundle: Bundle) -> str:
    """What the bundle has noted, or whose store its file lies in; "" for any other file."""
    if bundle.source:
        return bundle.source
    from edgereason.models.stores.base import whose

    store = whose(bundle.path)
    return f"{store}, opened in place" if store else ""

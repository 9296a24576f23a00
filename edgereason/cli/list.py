"""`edgereason list`: the models that have a name, and which of them are here."""

from __future__ import annotations

import sys
from typing import Any

from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import console, json_object, mib
from edgereason.errors import EdgereasonError


def command(as_json: Json = False, debug: Debug = False) -> None:
    """List models: what can be pulled, and what is here."""
    from edgereason.models.hub import cached, catalog

    here = cached()
    found = [_listed(name, here.get(name)) for name in sorted({*catalog(), *here})]
    if as_json:
        json_object.say({"models": found})
        return
    from rich.table import Table

    table = Table("name", "here", "size", "licence", "about", box=None, pad_edge=False)
    for model in found:
        here_word = "damaged" if model["error"] else "yes" if model["cached"] else "no"
        table.add_row(
            model["name"],
            here_word,
            mib(model["size_bytes"]),
            model["licence"],
            model["error"] or model["about"],
        )
    console(sys.stdout).print(table)


def _listed(name: str, path: Any) -> dict[str, Any]:
    """What the catalog says of a model; where it is here, what its bundle says."""
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import catalog

    entry = catalog().get(name)
    model = {
        "name": name,
        "cached": path is not None,
        "path": path and str(path),
        "size_bytes": entry.size_bytes if entry else 0,
        "licence": entry.licence if entry else "",
        "about": entry.about if entry else "",
        "error": "",
    }
    if path is not None:
        try:
            bundle = open_bundle(path)
        except EdgereasonError as error:  # one damaged model must not hide the others
            return model | {"error": error.message}
        model["size_bytes"] = sum(file.size_bytes for file in bundle.files)
        model["licence"] = bundle.licence or model["licence"]
        model["about"] = model["about"] or bundle.base_model
    return model

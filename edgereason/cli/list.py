"""`edgereason list`: the models that have a name, and which of them are here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import console, json_object, mib
from edgereason.errors import EdgereasonError

if TYPE_CHECKING:
    from edgereason.models.stores import Found


def command(
    all_of_them: Annotated[
        bool, flag("--all", "Also what Ollama, Hugging Face, LM Studio and llama.cpp have here.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List models: what can be pulled, and what is here."""
    from edgereason.models.catalog import catalog
    from edgereason.models.hub import cached
    from edgereason.models.stores import find_all

    here = cached()
    ours = [_listed(name, here.get(name)) for name in sorted({*catalog(), *here})]
    theirs = (each for each in find_all() if each.name not in here)  # that is, not imported
    found = ours + ([_elsewhere(each) for each in theirs] if all_of_them else [])
    if as_json:
        json_object.say({"models": found})
        return
    from rich.table import Table

    table = Table("name", "here", "size", "licence", "about", box=None, pad_edge=False)
    for model in found:
        wrong = "damaged" if model in ours else "unusable"
        here_word = wrong if model["error"] else "yes" if model["cached"] else "no"
        table.add_row(
            model["name"],
            here_word,
            mib(model["size_bytes"]) if model["size_bytes"] else _about_size(model),
            model["licence"],
            model["error"] or model["about"],
        )
    console(sys.stdout).print(table)


def _about_size(model: dict[str, Any]) -> str:
    """Of what is not here: its weights, of which `pull` takes the file that fits."""
    return f"{model['parameters']:g} B weights" if model["parameters"] else ""


def _elsewhere(found: Found) -> dict[str, Any]:
    """A model of another program's, under the keys of ours."""
    from edgereason.models.bundle import open_bundle

    model = {
        "name": found.name,
        "cached": True,
        "path": str(found.path),
        "size_bytes": found.size_bytes,
        "parameters": 0.0,
        "licence": "",
        "thinks": "",
        "about": "opened in place",
        "error": found.why_not,
    }
    if found.why_not or found.path.suffix == ".onnx":  # to open one of these writes a vocabulary
        return model
    try:
        bundle = open_bundle(found.path)
    except EdgereasonError as error:
        return model | {"error": error.message}
    return model | {"licence": bundle.licence, "about": f"{bundle.base_model}, opened in place"}


def _listed(name: str, path: Any) -> dict[str, Any]:
    """What the catalog says of a model; where it is here, what its bundle says."""
    from edgereason.models.bundle import open_bundle
    from edgereason.models.catalog import catalog

    entry = catalog().get(name.partition(":")[0])
    model = {
        "name": name,
        "cached": path is not None,
        "path": path and str(path),
        "size_bytes": entry.size_bytes if entry else 0,
        "parameters": entry.parameters if entry else 0.0,
        "licence": entry.licence if entry else "",
        "thinks": entry.thinks if entry else "",
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

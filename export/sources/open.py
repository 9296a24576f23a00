"""From what a user names to a `Source`: which reader it needs. Knows no format itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from edgereason.errors import ModelNotFoundError, UnsupportedError
from edgereason.models.bundle import MANIFEST, model_file, open_bundle
from edgereason.models.catalog import catalog
from edgereason.models.hub import cached, resolve
from edgereason.models.prefix_file import bundled

from .base import Source, pickled
from .coconut import CoconutSource
from .gguf import GgufSource
from .hugging_face import CONFIG, HuggingFaceSource, fetch

_HUB_NAME: Final = re.compile(r"(hf:)?[\w.-]+/[\w.-]+")


def open_source(text: str | Path, base: Path | None = None) -> Source:
    """Opens a GGUF, a folder of Hugging Face's, a bundle, a pulled model's name, or fetches
    `hf:owner/repo`. With `base`, a folder, it is a checkpoint of Coconut's code."""
    path = Path(str(text).removeprefix("file:")).expanduser()
    if base is not None:
        return CoconutSource(path, base.expanduser())
    if path.is_dir():
        if (path / MANIFEST).is_file():
            return _of_bundle(path)
        _check_reading(str(text), path)
        return HuggingFaceSource(path)
    if path.is_file():
        return _of_file(path)
    return _by_name(str(text))


def _check_reading(text: str, folder: Path) -> None:
    """A name may be that of a folder here, and of a model as well: a folder that is no model is
    most likely not what was meant."""
    known = cached()
    if (folder / CONFIG).is_file() or text not in {*catalog(), *known}:
        return
    model = f"give {known[text]}" if text in known else f"fetch it with: edgereason pull {text}"
    raise ModelNotFoundError(
        f"{text} is a folder here that has no {CONFIG}, and the name of a model as well",
        f"for that model {model}; for the folder, put {CONFIG} and safetensors into it",
    )


def _of_file(path: Path) -> Source:
    if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"):
        raise pickled(path.name)
    return GgufSource(path)


def _of_bundle(path: Path) -> Source:
    bundle = open_bundle(path)
    first = model_file(bundle)
    if first.suffix != ".gguf":
        raise UnsupportedError(
            f"{bundle.name} is a bundle for {bundle.engine}, its weights are not read back",
            "export from the GGUF or the Hugging Face folder it was made of",
        )
    source = _of_file(first)
    source.name = bundle.name
    source.variant = bundle.variant
    source.prefixes = tuple(bundled(path).values())
    source.licence = source.licence or bundle.licence
    source.base_model = bundle.base_model or source.base_model
    return source


def _by_name(text: str) -> Source:
    repo = text.removeprefix("hf:")
    if text not in catalog() and _HUB_NAME.fullmatch(text) and not text.startswith((".", "/", "~")):
        return HuggingFaceSource(fetch(repo), repo)
    found = resolve(text)
    if found.is_dir():
        return _of_bundle(found)
    if not found.is_file():
        raise ModelNotFoundError(f"no such model: {text}")
    return _of_file(found)

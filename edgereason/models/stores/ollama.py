"""Ollama: manifests name blobs by sha256; the model among them is a GGUF without the suffix.

`ollama:qwen3:0.6b`. The template and the parameters that Ollama keeps beside it are read by
`edgereason import` only: opened in place, a GGUF has a chat template of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.config import folder_named
from edgereason.models.stores.base import Found

TITLE: Final = "Ollama's store"
_SERVICE: Final = Path("/usr/share/ollama/.ollama/models")  # of Ollama's service on Linux
_MODEL: Final = "application/vnd.ollama.image.model"
_ADAPTER: Final = "application/vnd.ollama.image.adapter"
_TENSOR: Final = "application/vnd.ollama.image.tensor"
_TEXTS: Final = ("template", "params", "system", "license", "messages")
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-f]{64})")


def places() -> tuple[Path, ...]:
    if chosen := folder_named("OLLAMA_MODELS"):
        return (chosen,)
    return (Path.home() / ".ollama" / "models", _SERVICE)


def find() -> Iterator[Found]:
    for place in places():
        for manifest in _manifests(place):
            yield _found(place, manifest)


def texts(name: str) -> dict[str, str]:
    """What Ollama keeps beside a model's weights, by kind: `template`, `params`, `system`, ...
    Several of a kind are joined. Raises `OSError` or `ValueError`."""
    for place in places():
        for manifest in _manifests(place):
            if name not in _found(place, manifest).names:
                continue
            found: dict[str, str] = {}
            for media_type, digest in _layers(manifest):
                kind, match = media_type.rpartition(".")[2], _DIGEST.fullmatch(digest)
                if kind in _TEXTS and match:
                    text = files.read_text(place / "blobs" / f"sha256-{match[1]}")
                    found[kind] = "\n".join(filter(None, (found.get(kind, ""), text)))
            return found
    return {}


def _manifests(place: Path) -> Iterator[Path]:
    try:
        found = sorted((place / "manifests").glob("*/*/*/*"))
    except OSError:  # the service's folder need not be for everybody
        return
    yield from (path for path in found if path.is_file() and not path.name.startswith("."))


def _found(place: Path, manifest: Path) -> Found:
    host, owner, model, tag = manifest.parts[-4:]
    names = [f"{host}/{owner}/{model}:{tag}", f"{owner}/{model}:{tag}"]
    if owner == "library":
        names.append(f"{model}:{tag}")
    if not host.startswith("registry."):  # of another hub it is called with the host
        names = names[:1]
    names = [f"ollama:{name}" for name in reversed(names)]
    if tag == "latest":
        names += [name.removesuffix(":latest") for name in names]
    blob, why_not = _blob(place, manifest)
    return Found(tuple(names), blob, why_not)


def _blob(place: Path, manifest: Path) -> tuple[Path, str]:
    """The model's file, and why it cannot be opened."""
    try:
        layers = _layers(manifest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return manifest, f"its manifest cannot be read: {error}"
    kinds = {kind for kind, _ in layers}
    digest = next((digest for kind, digest in layers if kind == _MODEL), "")
    match = _DIGEST.fullmatch(digest)
    blob = place / "blobs" / f"sha256-{match[1]}" if match else manifest
    if match and not blob.is_file():
        return blob, "its weights are missing: fetch it again with ollama pull"
    if match and _ADAPTER in kinds:
        return blob, "it has a LoRA adapter: open its base, and the adapter with --lora"
    return blob, "" if match else _no_weights(kinds, digest)


def _no_weights(kinds: set[str], digest: str) -> str:
    if digest:
        return f"its manifest names a blob {digest!r}"
    if any(kind.startswith(_TENSOR) for kind in kinds):
        return "its weights are not a GGUF"
    return "it has no weights here; it may run in Ollama's cloud"


def _layers(manifest: Path) -> list[tuple[str, str]]:
    data: Any = json.loads(manifest.read_text(encoding="utf-8"))
    return [(str(layer["mediaType"]), str(layer["digest"])) for layer in data["layers"] or ()]

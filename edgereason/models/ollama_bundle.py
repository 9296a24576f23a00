"""A model of Ollama's as a bundle: weights, sampling, licence, and its template where asked for.

    bundle, notes = as_bundle("ollama:qwen3:0.6b", folder)

Its store is only read. The weights are linked where the disk is the same, else copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.config import build
from edgereason.errors import BundleError, UnsupportedError, UsageError
from edgereason.models import gguf
from edgereason.models.bundle import Bundle, guarded_texts, open_bundle, write_bundle
from edgereason.models.go_template import to_jinja
from edgereason.models.hugging_face import take
from edgereason.models.modelfile import PARAMETERS
from edgereason.models.stores import ollama
from edgereason.models.stores.base import locate, not_there
from edgereason.prompt.detection import detect_reasoning
from edgereason.records import Sampling

_LICENCE_CHARACTERS: Final = 80  # of its first line; the whole text lies beside the weights
_LICENCE: Final = "LICENSE"


def as_bundle(name: str, folder: Path, *, template: str = "file") -> tuple[Bundle, tuple[str, ...]]:
    """Fills an empty folder; also returns what was left aside.

    `template`: `file`, the GGUF's own, or `ollama`, translated; a GGUF without one gets Ollama's.
    Raises `UnsupportedError` where that cannot be translated.
    """
    weights = locate(name)
    if weights is None:
        raise not_there(name)
    try:
        beside = ollama.texts(name)
    except (OSError, ValueError) as error:
        raise BundleError(f"what Ollama keeps of {name} cannot be read: {error}") from None
    bundle = open_bundle(weights)
    take(weights, folder / "model.gguf")
    sampling, notes = _sampling(bundle.sampling, beside.get("params", ""))
    bundle = replace(
        bundle,
        path=folder,
        name=name,
        source=name,
        files=(replace(bundle.files[0], path="model.gguf"),),
        sampling=sampling,
        licence=bundle.licence or _first_line(beside.get("license", "")),
    )
    bundle = _with_template(bundle, weights, beside, template)
    if licence := beside.get("license"):
        with files.writing(folder / _LICENCE) as file:
            file.write(licence.encode())
        bundle = replace(bundle, files=(*bundle.files, replace(bundle.files[0], path=_LICENCE)))
    if "messages" in beside:
        notes.append("its example messages")
    return write_bundle(bundle, folder), tuple(notes)


def _with_template(bundle: Bundle, weights: Path, beside: Mapping[str, str], wanted: str) -> Bundle:
    jinja = bundle.chat_template
    if wanted == "ollama" or not jinja:
        if "template" not in beside:
            raise UnsupportedError(f"Ollama has no template of {bundle.name}")
        jinja = to_jinja(beside["template"])
    if system := beside.get("system"):
        jinja = _speaking_first(system) + jinja
    if jinja == bundle.chat_template:
        return bundle
    control, defined = gguf.read(weights).control_tokens()
    bos, eos = bundle.bos_token, bundle.eos_token
    return replace(
        bundle,
        chat_template=jinja,
        control_tokens=guarded_texts(jinja, control, defined),
        reasoning=detect_reasoning(jinja, (*control, *defined), bos_token=bos, eos_token=eos),
    )


def _speaking_first(system: str) -> str:
    """The system message of a Modelfile, where a conversation has none."""
    message = f"[{{'role': 'system', 'content': {json.dumps(system, ensure_ascii=False)}}}]"
    start = f"{{% set messages = {message} + messages %}}"
    return f"{{% if not messages or messages[0]['role'] != 'system' %}}{start}{{% endif %}}"


def _sampling(own: Sampling, params: str) -> tuple[Sampling, list[str]]:
    """The file's, and over it Ollama's; and which parameters have no place here."""
    try:
        given: Mapping[str, Any] = files.parse_json(params) if params else {}
    except ValueError as error:
        raise BundleError(f"Ollama's parameters cannot be read: {error}") from None
    known = {PARAMETERS[key]: value for key, value in given.items() if key in PARAMETERS}
    try:
        checked = build(Sampling, known, what="parameter")
    except UsageError as error:
        raise BundleError(f"Ollama's parameters are wrong: {error.message}") from None
    taken = replace(own, **{key: getattr(checked, key) for key in known})
    return taken, [
        f"{key} {_short(value)}" for key, value in given.items() if key not in PARAMETERS
    ]


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:_LICENCE_CHARACTERS] if lines else ""

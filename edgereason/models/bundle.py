"""What can be opened: a folder with `edgereason.json`, or a bare `.gguf` whose manifest is derived
from its header.

A bundle says all that is known of a model without loading it: files, context, chat template, how it
reasons, what it recommends. File sizes are checked whenever a bundle is opened, hashes in
`verify()`: reading gigabytes at every start would cost seconds on a device, so `pull` verifies once
and `show --verify` on demand. Knows no engine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, Final

from edgereason import files
from edgereason.config import build, unknown
from edgereason.errors import BundleError, ModelNotFoundError, UsageError
from edgereason.models import gguf, gguf_parts, onnx_folder
from edgereason.models.variants import GGUF_KEY, Variant, from_text, read_variant
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.reasoning import PLAIN, Kind, Mode, Reasoning, Switch
from edgereason.prompt.template import literals_of
from edgereason.records import Sampling

__all__ = [
    "MANIFEST",
    "Bundle",
    "File",
    "Mode",
    "Reasoning",
    "open_bundle",
    "verify",
    "write_bundle",
]

MANIFEST: Final = "edgereason.json"
FORMAT: Final = 1
_NO_MORE: Final = ("variant_options", "step_costs")  # keys of old manifests, which nothing reads

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a bundle. `path` is relative to the bundle's folder, with `/`; `sha256` is ""
    when not recorded."""

    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything known of a model before it is loaded.

    Attributes:
        path: the folder, or the bare GGUF.
        files: the first one is what the engine opens.
        context: tokens the model was trained to see at once; 0 unknown.
        control_tokens: texts that must not come from users.
        recommended: strategy, called as its file -> options that this model does best with.
        variant: how the model was changed; None for a plain one.
        source: where its files were taken from; "" where nobody has noted it.
        base_hash: names the weights it was made from, whatever became of them: for prefixes.
        kv_bytes_per_token: KV type -> bytes over all layers; empty where unknown.
    """

    path: Path
    name: str
    engine: str
    files: tuple[File, ...]
    base_model: str = ""
    source: str = ""
    licence: str = ""
    architecture: str = ""
    num_parameters: int = 0
    quantization: str = ""
    context: int = 0
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    control_tokens: tuple[str, ...] = ()
    reasoning: Reasoning = PLAIN
    sampling: Sampling = Sampling()  # noqa: RUF009  # it is frozen
    recommended: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant: Variant | None = None
    base_hash: str = ""
    kv_bytes_per_token: Mapping[str, int] = field(default_factory=dict)


_OLD_KEY: Final = "auto_threshold"
"""Of manifests written before `recommended`, which held one option of one strategy."""

_SERIALIZED: Final = tuple(f.name for f in fields(Bundle) if f.name != "path")


def open_bundle(path: Path | str) -> Bundle:
    """Opens a folder, a `.gguf` or an `.onnx`. Checks the manifest, and that all files are there in
    full."""
    path = Path(path)
    if path.is_dir() and not (path / MANIFEST).is_file() and onnx_folder.is_folder(path):
        return _of_onnx(onnx_folder.read(path))
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise ModelNotFoundError(f"no such model: {path}")
    if path.suffix == ".onnx" and (path.parent / MANIFEST).is_file():
        return _open_folder(path.parent)
    if path.suffix == ".onnx":
        return _of_onnx(onnx_folder.read(path))
    return _of_gguf(gguf.read(path))


def model_file(bundle: Bundle) -> Path:
    """What the engine opens: the first of the bundle's files."""
    return bundle.path if bundle.path.is_file() else bundle.path / bundle.files[0].path


def verify(bundle: Bundle, progress: Progress | None = None) -> None:
    """Compares every file's sha256 with the manifest's. Reads them all: seconds per gigabyte."""
    total = sum(file.size_bytes for file in bundle.files)
    done = 0
    for file in bundle.files:
        if not file.sha256:
            raise BundleError(
                f"{bundle.name} has no recorded sha256 to verify {file.path} against",
                "bundles that were pulled or exported have one; a bare GGUF file has none",
            )
        found = sha256_of(bundle.path / file.path, progress, done, total)
        done += file.size_bytes
        if found != file.sha256:
            raise BundleError(
                f"{file.path} is not what the bundle promises: its sha256 is {found}, "
                f"expected {file.sha256}",
                "fetch the model again",
            )


def sha256_of(
    path: Path, progress: Progress | None = None, done: int = 0, total: int | None = None
) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    try:
        total = path.stat().st_size if total is None else total
        with files.reading(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
                done += len(block)
                if progress:
                    progress(done, total)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from None
    return digest.hexdigest()


def write_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Writes the manifest, with sizes and hashes, into a folder that holds the bundle's files."""
    hashed = []
    for file in bundle.files:
        at = _inside(folder, file.path)
        hashed.append(File(file.path, at.stat().st_size, sha256_of(at)))
    written = replace(bundle, path=folder, files=tuple(hashed))
    data = {"format": FORMAT} | {name: _to_json(getattr(written, name)) for name in _SERIALIZED}
    for later in ("recommended", "source"):  # versions before them read the manifest, too
        if not data[later]:
            del data[later]
    unfinished = folder / f".{MANIFEST}.part"
    with files.writing(unfinished) as manifest:
        manifest.write((json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
    os.replace(unfinished, folder / MANIFEST)
    return open_bundle(folder)


def to_dict(bundle: Bundle) -> dict[str, Any]:
    """All of a bundle as JSON data, for `show --json`."""
    return {"path": str(bundle.path)} | {
        name: _to_json(getattr(bundle, name)) for name in _SERIALIZED
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {f.name: _to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def _open_folder(folder: Path) -> Bundle:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ModelNotFoundError(
            f"{folder} is not a bundle: it has no {MANIFEST}",
            "give a bundle's folder, that of an ONNX model of optimum or of onnxruntime-genai, or "
            "the path of a .gguf file",
        )
    data = _read_manifest(manifest)
    for old in _NO_MORE:
        data.pop(old, None)
    written = data.pop("format", None)
    if written != FORMAT:
        raise BundleError(
            f"{manifest} has format {written!r}, this version reads {FORMAT}",
            "update edgereason, or export the model again",
        )
    try:
        if "path" in data:
            raise unknown("unknown key", "path", _SERIALIZED)
        told = data.pop("variant", None)
        variant = read_variant(None if told == "" else told)  # as models pulled early have it
        bundle = build(Bundle, {**_renewed(data), "path": folder}, what="key")
        recommended = {name.replace("-", "_"): told for name, told in bundle.recommended.items()}
        bundle = replace(bundle, variant=variant, recommended=recommended)
    except UsageError as error:
        raise BundleError(f"{manifest}: {error.message}", error.hint) from None
    if not bundle.files:
        raise BundleError(f"{manifest} names no files")
    for file in bundle.files:
        at = _inside(folder, file.path)
        _check_size(at, file)
        if at.suffix == ".gguf":
            gguf.read(at)  # a damaged header must not reach the engine, which may abort on it
    return bundle


def _renewed(data: dict[str, Any]) -> dict[str, Any]:
    """What is said in words of earlier versions, in today's."""
    if "reasoning" in data:
        data = data | {"reasoning": _without_tails(data["reasoning"])}
    if _OLD_KEY not in data:
        return data
    strategy, _, option = _OLD_KEY.partition("_")
    rest = {key: value for key, value in data.items() if key != _OLD_KEY}
    return {"recommended": {strategy: {option: data[_OLD_KEY]}}, **rest}


def _without_tails(told: Any) -> Any:
    """Once the texts behind a prompt were fixed with the mode, not read off the prompt."""
    tails = {}
    modes = {}
    for name in ("on", "off"):
        mode = told.get(name) if isinstance(told, dict) else None
        if isinstance(mode, dict) and "tail" in mode:
            tails[name] = mode["tail"]
            modes[name] = {key: value for key, value in mode.items() if key != "tail"}
    if not modes:
        return told
    told = {**told, **modes}
    if told.get("kind") != Kind.MARKER.value or not told.get("opens"):
        return told
    close = told.get("close", "")
    enter = tails.get("on") or told["opens"][0] + ("\n" if close.startswith("\n") else "")
    leave = tails.get("off", "").removeprefix(enter) or close
    skip = enter + leave if told.get("switch") == Switch.PREFILL.value else ""
    return {"enter": enter, "leave": leave, "skip": skip} | told


def _read_manifest(manifest: Path) -> dict[str, Any]:
    try:
        return files.read_json(manifest)
    except OSError as error:
        raise BundleError(f"cannot read {manifest}: {error.strerror}") from None
    except ValueError as error:
        raise BundleError(f"cannot read {manifest}: {error}") from None


def _inside(folder: Path, relative: str) -> Path:
    """The path of a bundle's file. Refuses one that leads out of the folder, also by a link."""
    pure = PurePosixPath(relative)
    at = folder / pure
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or not pure.parts:
        raise BundleError(f"the bundle names a file outside its folder: {relative!r}")
    try:
        inside, is_file = at.resolve().is_relative_to(folder.resolve()), at.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL, a circle of links
        raise BundleError(f"the bundle names a file that cannot be: {error}") from None
    if not inside:
        raise BundleError(f"{relative!r} is a link that leads out of the bundle")
    if not is_file:
        raise BundleError(f"{folder.name} is incomplete: {relative} is missing", "fetch it again")
    return at


def _check_size(at: Path, file: File) -> None:
    found = at.stat().st_size
    if found != file.size_bytes:
        raise BundleError(
            f"{file.path} has {found:,} bytes, the bundle promises {file.size_bytes:,}",
            "fetch the model again",
        )


def _of_onnx(model: onnx_folder.OnnxFolder) -> Bundle:
    """Of another tool's folder: its graph, and what its tokenizer says."""
    described = _of_gguf(gguf.read(onnx_folder.vocabulary(model)))
    return replace(
        described,
        path=model.folder,
        name=model.name,
        engine="onnxruntime",
        files=tuple(File(name, (model.folder / name).stat().st_size) for name in model.files),
        base_model="",
        architecture=model.architecture,
        quantization=model.quantization,
        context=model.context,
        kv_bytes_per_token={},
    )


_NO_MODELS: Final = {
    "adapter": ("a LoRA adapter", "give the model it was made for, and this file with --lora"),
    "imatrix": ("an importance matrix", "give it to edgereason export with --imatrix"),
    "mmproj": ("an image projector", "give the language model beside it"),
}
"""`general.type` of files that are no models: what they are, and what they are for."""


def _of_gguf(header: gguf.Gguf) -> Bundle:
    kind = "mmproj" if header.architecture == "clip" else header.text("general.type")
    if kind in _NO_MODELS:
        what, hint = _NO_MODELS[kind]
        raise BundleError(f"{header.path.name} is {what}, no model", hint)
    parts = gguf_parts.check(header.path, header.integer("split.count", 1))
    others = [gguf.read(part) for part in parts[1:]]
    template = header.chat_template
    bos, eos = header.token("bos"), header.token("eos")
    control, defined = header.control_tokens()
    reasoning = detect_reasoning(
        template,
        (*control, *defined),
        bos_token=bos,
        eos_token=eos,
        name=header.name,
    )
    return Bundle(
        path=header.path,
        name=_name(header),
        engine="llamacpp",
        files=tuple(File(part.path.name, part.size_bytes) for part in (header, *others)),
        base_model=header.name,
        licence=header.licence,
        architecture=header.architecture,
        num_parameters=sum(part.num_parameters for part in (header, *others)),
        quantization=header.quantization,
        context=max(header.context_length, 0),
        chat_template=template,
        bos_token=bos,
        eos_token=eos,
        control_tokens=guarded_texts(template, control, defined),
        reasoning=reasoning,
        sampling=_recommended(header, reasoning.kind),
        variant=variant_of(header),
        base_hash=header.text("edgereason.base"),
        kv_bytes_per_token={kind: header.kv_bytes_per_token(kind) for kind in gguf.KV_BYTES},
    )


def _name(header: gguf.Gguf) -> str:
    """The file's; a blob of a store has none to speak of."""
    if header.path.suffix == ".gguf":
        return gguf_parts.stem(header.path.name)
    return header.text("general.name") or header.path.stem


def guarded_texts(
    template: str, control: Sequence[str], user_defined: Sequence[str]
) -> tuple[str, ...]:
    """Which tokens' texts must not come from users.

    Control tokens always; user-defined ones where the template writes them itself. Others are
    ordinary words that happen to be one token (runs of spaces, HTML tags): to cut them would change
    a text's tokens for nothing.
    """
    literals = literals_of(template)
    written = (text for text in user_defined if text.strip() and text in literals)
    return tuple(dict.fromkeys((*control, *written)))


def variant_of(header: gguf.Gguf) -> Variant | None:
    """What a file's metadata says."""
    try:
        return from_text(header.text(GGUF_KEY))
    except UsageError as error:
        raise BundleError(f"{header.path.name}: {error.message}", error.hint) from None


_SAMPLING_KEYS: Final = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
    "penalty_window": "penalty_last_n",
}


THINKERS: Final = Sampling(temperature=0.6, top_p=0.95)
"""What makers of reasoning models recommend."""


def _recommended(header: gguf.Gguf, kind: Kind) -> Sampling:
    """What the file recommends; else what makers of reasoning models do, who warn of greedy
    decoding (it loops), and greedy for all others."""
    told = {
        name: round(value, 6) if isinstance(value, float) else value
        for name, key in _SAMPLING_KEYS.items()
        if (value := header.metadata.get(f"general.sampling.{key}")) is not None
    }
    if not told and kind is Kind.MARKER:
        return THINKERS
    try:
        return build(Sampling, told, what="key")
    except UsageError as error:
        raise BundleError(
            f"{header.path.name} recommends wrong sampling: {error.message}"
        ) from None

"""Hugging Face's cache: `models--owner--repo/snapshots/COMMIT/`, links to blobs.

`hf:owner/repo/FILE.gguf`, `hf:owner/repo:QUANT`, `hf:owner/repo/onnx/model_q4.onnx`. Taken is the
commit that `refs/main` names, else the latest. Repositories with nothing but safetensors are shown,
since they can be exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgereason.config import folder_named
from edgereason.models.stores.base import Found, model_files, quantization_of

TITLE: Final = "the Hugging Face cache"


def places() -> tuple[Path, ...]:
    if chosen := folder_named("HF_HUB_CACHE"):
        return (chosen,)
    if home := folder_named("HF_HOME"):
        return (home / "hub",)
    cache = folder_named("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (cache / "huggingface" / "hub",)


def find() -> Iterator[Found]:
    for place in places():
        for folder in sorted(place.glob("models--*--*")):
            snapshot = _snapshot(folder)
            if snapshot is not None:
                yield from _models(folder.name.split("--", 2), snapshot)


def _snapshot(folder: Path) -> Path | None:
    snapshots = folder / "snapshots"
    try:
        main = snapshots / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        if main.is_dir():
            return main
    except (OSError, ValueError):
        pass  # fetched by a commit's hash: nothing names it
    there = [path for path in snapshots.glob("*") if path.is_dir()]
    return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _models(parts: list[str], snapshot: Path) -> Iterator[Found]:
    repo = f"hf:{parts[1]}/{parts[2]}"
    files = list(model_files(snapshot))
    for path in files:
        names = [f"{repo}/{path.relative_to(snapshot).as_posix()}"]
        quantization = quantization_of(path.name) if path.suffix == ".gguf" else ""
        alike = [other for other in files if quantization_of(other.name) == quantization]
        if quantization and alike == [path]:
            names.append(f"{repo}:{quantization}")
        yield Found(tuple(names), path)
    if not files and (snapshot / "config.json").is_file() and any(snapshot.glob("*.safetensors")):
        why_not = f"it is safetensors: edgereason export {repo} --to gguf --out FOLDER"
        yield Found((repo,), snapshot, why_not)

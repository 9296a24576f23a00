"""Folders as other programs make them, filled with tiny models. Layouts as of 2026."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from support.gguf_files import gguf_bytes, metadata

MODEL = gguf_bytes()


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Of every file: when it was written, and what is in it."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def ollama(place: Path, model: bytes = MODEL) -> Path:
    """`qwen3:0.6b`, `qwen3:latest` of the same blob, one of another hub, one without weights."""
    digest = ollama_blob(place, model)
    layers = [
        ("application/vnd.ollama.image.model", digest),
        ("application/vnd.ollama.image.template", ollama_blob(place, b"{{ .Prompt }}")),
        ("application/vnd.ollama.image.params", ollama_blob(place, b'{"temperature":0.6}')),
    ]
    home = "registry.example/library"
    for name in (f"{home}/qwen3/0.6b", f"{home}/qwen3/latest", "hf.co/owner/repo/Q4_K_M"):
        ollama_manifest(place, name, layers)
    ollama_manifest(place, "registry.example/someone/tiny/1b", layers)
    ollama_manifest(place, f"{home}/huge/cloud", [])
    return place


def ollama_blob(place: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    (place / "blobs").mkdir(parents=True, exist_ok=True)
    (place / "blobs" / f"sha256-{digest}").write_bytes(data)
    return f"sha256:{digest}"


def ollama_manifest(place: Path, name: str, layers: list[tuple[str, str]]) -> None:
    path = place / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    described = [{"mediaType": kind, "digest": digest, "size": 1} for kind, digest in layers]
    written = {"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": described}
    path.write_text(json.dumps(written))


def hugging_face(place: Path) -> Path:
    """`owner/repo` with two GGUF files and a projector, and one of safetensors."""
    files = {
        "repo-Q4_K_M.gguf": MODEL,
        "repo-Q8_0.gguf": gguf_bytes(metadata(general__name="Eight")),
        "mmproj-repo-f16.gguf": MODEL,
    }
    hugging_face_repo(place, "owner/repo", files)
    hugging_face_repo(place, "owner/plain", {"config.json": b"{}", "model.safetensors": b"weights"})
    return place


def hugging_face_repo(place: Path, repo: str, files: dict[str, bytes]) -> Path:
    """As `huggingface_hub` lays it out: links to blobs, the commit named by `refs/main`."""
    folder = place / f"models--{repo.replace('/', '--')}"
    commit = hashlib.sha1(repo.encode()).hexdigest()
    at = folder / "snapshots" / commit
    for name, data in files.items():
        blob = folder / "blobs" / hashlib.sha256(data).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = at / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    return at


def lm_studio(home: Path, model: bytes = MODEL) -> Path:
    folder = home / ".lmstudio" / "models" / "someone" / "Tiny-GGUF"
    folder.mkdir(parents=True)
    (folder / "Tiny-Q4_K_M.gguf").write_bytes(model)
    (folder / "Tiny-Q8_0.gguf.part").write_bytes(MODEL[:100])
    return home / ".lmstudio"


def llama_cpp(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "owner_repo_tiny-q4_0.gguf").write_bytes(MODEL)
    (place / "owner_repo_tiny-q4_0.gguf.json").write_text("{}")
    return place


def split(folder: Path, name: str = "big-Q4_0", num: int = 3) -> list[Path]:
    """A model over several files: metadata in the first, tensors in all."""
    paths = []
    for i in range(num):
        more = {"split.no": i, "split.count": num, "split.tensors.count": num}
        data = {**(metadata() if i == 0 else {}), **more}
        paths.append(folder / f"{name}-{i + 1:05}-of-{num:05}.gguf")
        paths[-1].write_bytes(gguf_bytes(data, [(f"w{i}", (16, 8))]))
    return paths

"""Pulling from Hugging Face. huggingface_hub is a module made here: nothing is fetched."""

from __future__ import annotations

import hashlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import BundleError, DownloadError, ModelNotFoundError
from edgereason.models import hub
from edgereason.models.bundle import open_bundle, verify
from support.gguf_files import gguf_bytes

WEIGHTS = gguf_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "EMBEDDED", tmp_path / "embedded")
    return tmp_path / "cache" / "models"


class FakeHub:
    """A repository in a folder, served as `huggingface_hub` serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.sha256 = hashlib.sha256(WEIGHTS).hexdigest()

    def add(self, *names: str) -> None:
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(WEIGHTS)

    def model_info(self, repo: str, files_metadata: bool) -> Any:
        assert files_metadata
        if repo == "owner/secret":
            raise self.RepositoryNotFoundError("404")
        if repo == "owner/offline":
            raise ConnectionError("the network is unreachable")
        files = sorted(p for p in self.folder.rglob("*") if p.is_file())
        lfs = types.SimpleNamespace(sha256=self.sha256)
        return types.SimpleNamespace(
            siblings=[
                types.SimpleNamespace(
                    rfilename=str(p.relative_to(self.folder)), size=p.stat().st_size, lfs=lfs
                )
                for p in files
            ]
        )

    def hf_hub_download(self, repo: str, filename: str) -> str:
        self.calls.append(f"{repo}/{filename}")
        link = self.folder.parent / f"snapshot-{len(self.calls)}"
        link.symlink_to(self.folder / filename)
        return str(link)

    class RepositoryNotFoundError(OSError):
        pass


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "repo")
    fake.add("README.md", "m-Q8_0.gguf", "sub/m-q4_k_m.gguf", "mmproj-Q8_0.gguf")
    fake.add("m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf")
    module = types.ModuleType("huggingface_hub")
    module.HfApi = lambda: fake  # type: ignore[attr-defined]  # a module of our own
    module.hf_hub_download = fake.hf_hub_download  # type: ignore[attr-defined]  # the same
    errors = types.ModuleType("huggingface_hub.errors")
    errors.RepositoryNotFoundError = fake.RepositoryNotFoundError  # type: ignore[attr-defined]  # the same
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return fake


@pytest.mark.parametrize(
    ("name", "key", "fetched"),
    [
        ("owner/m", "hf:owner/m:Q4_K_M", ["sub/m-q4_k_m.gguf"]),
        ("hf:owner/m:q8_0", "hf:owner/m:Q8_0", ["m-Q8_0.gguf"]),
        ("owner/m/sub/m-q4_k_m.gguf", "hf:owner/m/sub/m-q4_k_m.gguf", ["sub/m-q4_k_m.gguf"]),
        (
            "owner/m:F16",
            "hf:owner/m:F16",
            ["m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf"],
        ),
    ],
)
def test_models_of_hugging_face(
    hugging_face: FakeHub, name: str, key: str, fetched: list[str]
) -> None:
    folder = hub.pull(name)
    assert hugging_face.calls == [f"owner/m/{file}" for file in fetched]
    assert hub.cached() == {key: folder}
    assert hub.resolve(name) == hub.resolve(key) == folder
    bundle = open_bundle(folder)
    verify(bundle)
    assert (bundle.name, bundle.base_model) == (key, "owner/m")
    assert [file.path for file in bundle.files] == [Path(file).name for file in fetched]
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert hub.pull(name) == folder
    assert len(hugging_face.calls) == len(fetched)


def test_weights_are_not_stored_twice(hugging_face: FakeHub) -> None:
    folder = hub.pull("owner/m:Q8_0")
    assert (folder / "m-Q8_0.gguf").samefile(hugging_face.folder / "m-Q8_0.gguf")


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        ("owner/m:Q5_1", ModelNotFoundError, "owner/m has no Q5_1", "m-Q8_0.gguf"),
        ("owner/m/x.gguf", ModelNotFoundError, "owner/m has no x.gguf", "it has: m-F16"),
        ("owner/secret", ModelNotFoundError, "no repository owner/secret", "HF_TOKEN"),
        ("owner/offline", DownloadError, "the network is unreachable", "check the network"),
    ],
)
@pytest.mark.usefixtures("hugging_face")
def test_what_hugging_face_does_not_have(
    cache: Path, name: str, kind: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(kind) as raised:
        hub.pull(name)
    error = raised.value
    assert isinstance(error, (ModelNotFoundError, DownloadError))
    assert message in error.message
    assert hint in error.hint
    assert all(entry.startswith(".") and entry.endswith(".lock") for entry in os.listdir(cache))


def test_what_arrives_is_checked(hugging_face: FakeHub) -> None:
    hugging_face.sha256 = "0" * 64
    with pytest.raises(DownloadError, match="expected 0000"):
        hub.pull("owner/m")
    hugging_face.sha256 = hashlib.sha256(b"GGUFx").hexdigest()
    (hugging_face.folder / "m-Q8_0.gguf").write_bytes(b"GGUFx")
    with pytest.raises(BundleError, match="truncated"):
        hub.pull("owner/m:Q8_0")
    assert hub.cached() == {}


def test_the_library_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="not installed") as raised:
        hub.pull("owner/m")
    assert raised.value.hint == "pip install 'edgereason[hub]'"

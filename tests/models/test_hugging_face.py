"""Pulling from a hub of our own, through the real `huggingface_hub`."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgereason.config import child_environment
from edgereason.errors import (
    BundleError,
    DownloadError,
    MemoryLimitError,
    ModelNotFoundError,
    UnsupportedError,
)
from edgereason.models import catalog as catalog_module
from edgereason.models import fetch, hub
from edgereason.models.bundle import open_bundle, verify
from edgereason.models.catalog import Entry, Shape
from edgereason.models.stores import find_all
from support.cli_runner import Cli
from support.gguf_files import gguf_bytes
from support.hub_server import COMMIT, Hub, hub_server
from support.model_stores import hugging_face_repo, snapshot

pytest.importorskip("huggingface_hub", reason="it is what fetches")
from huggingface_hub import constants, file_download  # skipping comes first

WEIGHTS = gguf_bytes()
CHUNK = 10 << 20  # what the library takes from the line in one piece


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "EMBEDDED", tmp_path / "embedded")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "theirs"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as served:
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        names = ("README.md", "m-Q8_0.gguf", "sub/m-q4_k_m.gguf", "mmproj-Q8_0.gguf")
        parts = ("m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf")
        served.repos["owner/m"] = {
            name: gguf_bytes(more) + bytes([number])
            for number, (name, more) in enumerate(
                [*((name, None) for name in names), *((name, _part(name)) for name in parts)]
            )
        }
        yield served


def _part(name: str) -> dict[str, Any]:
    from support.gguf_files import metadata

    number = int(name.split("-")[2]) - 1
    data = metadata() if number == 0 else {}
    return data | {"split.no": number, "split.count": 2, "split.tensors.count": 2}


def fetched(server: Hub) -> list[str]:
    return [path.partition(f"/{COMMIT}/")[2] for path, _ in server.asked if "/resolve/" in path]


@pytest.mark.parametrize(
    ("name", "key", "files"),
    [
        ("owner/m", "hf:owner/m:Q4_K_M", ["sub/m-q4_k_m.gguf"]),
        ("hf:owner/m:q8_0", "hf:owner/m:Q8_0", ["m-Q8_0.gguf"]),
        ("owner/m/sub/m-q4_k_m.gguf", "hf:owner/m/sub/m-q4_k_m.gguf", ["sub/m-q4_k_m.gguf"]),
    ],
)
def test_pull(server: Hub, name: str, key: str, files: list[str]) -> None:
    counted: list[tuple[int, int]] = []
    folder = hub.pull(name, lambda done, total: counted.append((done, total)))
    assert fetched(server) == files
    assert hub.cached() == {key: folder}
    assert hub.resolve(name) == hub.resolve(key) == folder
    bundle = open_bundle(folder)
    verify(bundle)
    assert (bundle.name, bundle.base_model) == (key, "owner/m")
    assert bundle.source == f"hf:owner/m/{files[0]} at {COMMIT}"
    assert [file.path for file in bundle.files] == [Path(file).name for file in files]
    total = sum(len(server.repos["owner/m"][file]) for file in files)
    assert counted[-1] == (total, total)
    assert hub.pull(name) == folder
    assert fetched(server) == files
    assert os.listdir(folder.parent / ".downloads") == []


def test_all_parts_of_a_split_model_are_fetched(server: Hub) -> None:
    wanted = hub.look("owner/m:F16")
    assert [file.name for file in wanted.files] == [
        "m-F16-00001-of-00002.gguf",
        "m-F16-00002-of-00002.gguf",
    ]
    assert fetched(server) == []


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        ("owner/m:Q5_1", ModelNotFoundError, "owner/m has no Q5_1", "m-Q8_0.gguf"),
        ("owner/m/x.gguf", ModelNotFoundError, "owner/m has no x.gguf", "it has: m-F16"),
        ("owner/secret", ModelNotFoundError, "no repository owner/secret", "HF_TOKEN"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_the_hub_does_not_have(
    cache: Path, name: str, kind: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(kind) as raised:
        hub.pull(name)
    error: Any = raised.value
    assert message in error.message
    assert hint in error.hint
    assert all(entry.endswith(".lock") for entry in os.listdir(cache))


def test_no_hub_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match=r"cannot fetch owner/m from http://127\.0\.0\.1:1"):
        hub.pull("owner/m")


def test_a_wrong_hash_leaves_nothing_to_go_on_with(server: Hub, cache: Path) -> None:
    server.lies["m-Q8_0.gguf"] = "0" * 64
    with pytest.raises(DownloadError, match=r"its sha256 is [0-9a-f]+, expected 0000"):
        hub.pull("owner/m:Q8_0")
    assert hub.cached() == {}
    assert os.listdir(cache / ".downloads") == []
    server.lies.clear()
    assert hub.pull("owner/m:Q8_0").is_dir()


def test_what_is_no_model_is_not_kept(server: Hub) -> None:
    server.repos["owner/m"]["m-Q8_0.gguf"] = b"GGUFx"
    with pytest.raises(BundleError, match="truncated"):
        hub.pull("owner/m:Q8_0")
    assert hub.cached() == {}


def test_a_file_that_is_gone(server: Hub) -> None:
    server.gone.add("m-Q8_0.gguf")
    with pytest.raises(DownloadError, match="is gone since it was listed"):
        hub.pull("owner/m:Q8_0")


@pytest.mark.parametrize(
    ("token", "message", "hint"),
    [
        (None, "owner/m is gated", r"agree at http://127.*/owner/m, then set HF_TOKEN"),
        ("hf_other", "owner/m is gated", "HF_TOKEN"),
        ("hf_expired", r"refuses owner/m \(401\)", "HF_TOKEN is wrong or may not read it"),
    ],
)
def test_a_gated_model_says_what_to_do(
    server: Hub, monkeypatch: pytest.MonkeyPatch, token: str | None, message: str, hint: str
) -> None:
    server.gated.add("owner/m")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadError, match=message) as raised:
        hub.pull("owner/m")
    import re

    assert re.search(hint, raised.value.hint)
    monkeypatch.setenv("HF_TOKEN", server.token)
    assert hub.pull("owner/m").is_dir()


@pytest.mark.parametrize(
    ("status", "message"), [(403, r"refuses owner/m \(403\)"), (500, "cannot fetch owner/m from")]
)
def test_other_refusals(server: Hub, status: int, message: str) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=message):
        hub.pull("owner/m")


def test_a_line_that_breaks_is_taken_up(
    server: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    server.repos["owner/m"]["m-Q8_0.gguf"] = WEIGHTS + os.urandom(1 << 20)
    server.break_after, server.num_breaks = 1 << 18, 2
    hub.pull("owner/m:Q8_0")
    first, *later = server.ranges("m-Q8_0.gguf")
    assert first == ""
    assert len(later) == 2
    assert all(int(wanted[6:-1]) > 0 for wanted in later)


def test_a_line_that_stalls_is_told_and_goes_on(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    server.repos["owner/m"]["m-Q8_0.gguf"] = WEIGHTS + os.urandom(1 << 20)
    server.stall_after = 1 << 19
    with pytest.raises(DownloadError) as raised:
        hub.pull("owner/m:Q8_0")
    assert "run it again and it goes on" in raised.value.hint
    server.stall_after = 0
    server.stalled.set()
    told: list[str] = []
    hub.pull("owner/m:Q8_0", tell=told.append)
    assert any("going on behind" in line for line in told)


PULL = "import sys; from edgereason.cli import main; sys.exit(main(sys.argv[1:]))"


def child(server: Hub, cache: Path, *args: str) -> subprocess.Popen[str]:
    environment = child_environment(
        HF_ENDPOINT=server.url,
        HF_HOME=str(cache.parent / "hf"),
        EDGEREASON_CACHE=str(cache.parent),
    )
    return subprocess.Popen(
        [sys.executable, "-c", PULL, *args],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_pull_that_is_killed_goes_on(server: Hub, cache: Path) -> None:
    """The library's own download begins anew after a kill; its mirror is HF_ENDPOINT."""
    data = server.repos["owner/m"]["m-Q8_0.gguf"] = WEIGHTS + os.urandom(2 * CHUNK + (1 << 20))
    server.stall_after = 2 * CHUNK + (1 << 18)
    first = child(server, cache, "pull", "owner/m:Q8_0")
    part = cache / ".downloads" / f"{hashlib.sha256(data).hexdigest()}.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (part.exists() and part.stat().st_size >= CHUNK):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    there = part.stat().st_size
    assert there >= CHUNK
    assert hub.cached() == {}
    server.stall_after = 0
    server.stalled.set()
    second = child(server, cache, "pull", "owner/m:Q8_0")
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert f"m-Q8_0.gguf: going on behind {there / 2**20:,.0f} MiB that are here" in err
    assert "hf:owner/m:Q8_0: 21." in out
    assert server.ranges("m-Q8_0.gguf") == ["", f"bytes={there}-"]
    verify(open_bundle(hub.resolve("owner/m:Q8_0")))


def test_a_part_of_something_else_is_thrown_away(server: Hub, cache: Path) -> None:
    data = server.repos["owner/m"]["m-Q8_0.gguf"]
    part = cache / ".downloads" / f"{hashlib.sha256(data).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(data) + 1))
    hub.pull("owner/m:Q8_0")
    part.write_bytes(bytes(8))
    with pytest.raises(DownloadError, match="what arrived is not"):
        hub.pull("owner/m/m-Q8_0.gguf")
    assert hub.pull("owner/m/m-Q8_0.gguf").is_dir()


def test_what_the_library_has_is_not_fetched_again(server: Hub, tmp_path: Path) -> None:
    data = server.repos["owner/m"]["m-Q8_0.gguf"]
    at = hugging_face_repo(tmp_path / "theirs", "owner/m", {"m-Q8_0.gguf": data})
    (at.parents[1] / "refs" / "main").write_text(COMMIT)
    at.rename(at.with_name(COMMIT))
    before = snapshot(tmp_path / "theirs")
    folder = hub.pull("owner/m:Q8_0")
    assert fetched(server) == []
    blob = tmp_path / "theirs" / "models--owner--m" / "blobs" / hashlib.sha256(data).hexdigest()
    assert (folder / "m-Q8_0.gguf").samefile(blob)
    assert snapshot(tmp_path / "theirs") == before


def test_a_cache_that_the_library_made_is_opened_in_place(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "theirs"))
    for name in ("m-Q8_0.gguf", "sub/m-q4_k_m.gguf"):
        hf_hub_download("owner/m", name, cache_dir=tmp_path / "theirs")
    before = snapshot(tmp_path / "theirs")
    found = {each.name for each in find_all() if each.name.startswith("hf:")}
    assert found == {"hf:owner/m/m-Q8_0.gguf", "hf:owner/m/sub/m-q4_k_m.gguf"}
    for name in ("hf:owner/m:Q8_0", "owner/m", "hf:owner/m/sub/m-q4_k_m.gguf"):
        assert open_bundle(hub.resolve(name)).engine == "llamacpp"
    assert snapshot(tmp_path / "theirs") == before


def test_no_room(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    usage = types.SimpleNamespace(total=1, used=1, free=5)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match="not enough disk"):
        hub.pull("owner/m")
    assert fetched(server) == []


def test_the_library_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="not installed") as raised:
        hub.pull("owner/m")
    assert raised.value.hint == "pip install 'edgereason[hub]'"


# --- of the catalog -------------------------------------------------------------------------------

SHAPE = Shape(layers=28, kv_heads=8, head_dim=128, hidden=1024, feed_forward=3072, vocab=151936)
ENTRY = Entry(
    source="hf:owner/m",
    licence="MIT",
    origin="https://example.org/m",
    parameters=0.6,
    context=32768,
    shape=SHAPE,
)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    known = {"small": ENTRY, "raw": dataclasses.replace(ENTRY, weights="safetensors")}
    for module in (hub, catalog_module):
        monkeypatch.setattr(module, "catalog", lambda: known)


@pytest.mark.usefixtures("named")
class TestByName:
    def test_the_best_that_fits_is_taken_and_why_is_told(self, server: Hub, cli: Cli) -> None:
        ran = cli("pull", "small", "--memory-gib", "4")
        assert ran.code == 0, ran.err
        assert ran.err.startswith("Q8_0: it takes 0.98 GiB")
        assert (
            "with a context of 8192, 4.00 GiB are given; it is the best of Q8_0, Q4_K_M" in ran.err
        )
        bundle = open_bundle(hub.resolve("small"))
        assert (bundle.name, bundle.licence, bundle.base_model) == ("small", "MIT", ENTRY.origin)
        shown = cli("show", "small").out
        assert f"hf:owner/m/m-Q8_0.gguf at {COMMIT}" in shown

    def test_less_memory_takes_fewer_bits(
        self, server: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = {"m-Q8_0.gguf": 4 << 20, "sub/m-q4_k_m.gguf": 2 << 20}
        for name, size in wanted.items():
            server.repos["owner/m"][name] = WEIGHTS + bytes(size)
        fixed = catalog_module.needed_bytes(ENTRY, 3 << 20) / 2**30
        look = hub.look("small", fixed)
        assert [file.name for file in look.files] == ["sub/m-q4_k_m.gguf"]
        assert look.why.startswith("Q4_K_M: it takes")
        assert "Q8_0 would take" in look.why
        monkeypatch.setattr(catalog_module, "free_bytes", lambda: int(fixed * 2**30))
        assert hub.look("small").files == look.files
        monkeypatch.setattr(catalog_module, "free_bytes", lambda: -1)
        assert "not known here" in hub.look("small").why

    def test_none_fits(self, server: Hub, cli: Cli) -> None:
        server.repos["owner/m"]["m-Q8_0.gguf"] += bytes(1 << 20)
        with pytest.raises(
            MemoryLimitError, match=r"Q4_K_M takes .* 0\.10 GiB are given"
        ) as raised:
            hub.pull("small", memory_gib=0.1)
        assert raised.value.hint.endswith("edgereason pull small:Q4_K_M")
        assert cli("pull", "small", "--memory-gib", "0.1").code == 4
        assert hub.pull("small:q4_k_m").name == "small%3AQ4_K_M"

    def test_a_format_that_was_asked_for_stands_for_the_name(self, server: Hub) -> None:
        with pytest.raises(ModelNotFoundError, match="not on this machine"):
            hub.resolve("small:Q8_0")
        folder = hub.pull("small:Q8_0")
        assert hub.resolve("small") == hub.resolve("small:q8_0") == hub.pull("small") == folder
        assert fetched(server) == ["m-Q8_0.gguf"]

    def test_a_dry_run_fetches_nothing(self, server: Hub, cli: Cli, cache: Path) -> None:
        data = cli("pull", "small", "--dry-run", "--json").json
        (file,) = data["files"]
        assert file["name"] == "m-Q8_0.gguf"
        assert file["sha256"] == hashlib.sha256(server.repos["owner/m"]["m-Q8_0.gguf"]).hexdigest()
        assert "would be 0.0 MiB from hf:owner/m" in cli("pull", "small", "--dry-run").out
        assert fetched(server) == []
        assert not cache.exists()
        assert cli("pull", "small", "--memory-gib", "0").code == 2

    def test_weights_that_must_be_exported(self, server: Hub) -> None:
        with pytest.raises(UnsupportedError) as raised:
            hub.pull("raw")
        assert raised.value.hint.startswith("edgereason export hf:owner/m --to gguf")
        assert server.asked == []

    def test_a_repository_without_any_of_the_formats(self, server: Hub) -> None:
        server.repos["owner/m"] = {"m-Q2_K.gguf": WEIGHTS}
        with pytest.raises(ModelNotFoundError, match="owner/m has no Q8_0") as raised:
            hub.pull("small")
        assert "m-Q2_K.gguf" in raised.value.hint
        assert hub.pull("small:Q2_K").is_dir()

"""The catalog: what it says is whole, and what it reckons is the memory guard's own figure."""

from __future__ import annotations

import re

import pytest

from edgereason import engines
from edgereason.errors import MemoryLimitError
from edgereason.models import catalog as module
from edgereason.models import gguf
from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.catalog import FORMATS, Entry, Shape, by_memory, catalog, choose
from edgereason.models.hub import EMBEDDED
from edgereason.registry import load
from support.cli_runner import Cli
from support.places import ROOT


@pytest.mark.parametrize("name", catalog())
def test_each_says_where_it_is_from(name: str) -> None:
    entry = catalog()[name]
    assert re.fullmatch(r"pypi:[\w-]+==[\d.]+|hf:[\w.-]+/[\w.-]+", entry.source)
    assert entry.licence
    assert entry.about
    assert entry.thinks
    assert entry.origin.startswith("https://")
    if entry.repo:
        assert not entry.sha256  # of today's file, which the hub tells
        assert not entry.file
        assert entry.sources
        assert entry.parameters
        assert entry.shape is not None
        assert entry.context >= 32768
        assert set(entry.formats) <= set(FORMATS)
    else:
        assert len(entry.sha256) == 64
        assert entry.size_bytes > 2**20


def test_what_is_needed_is_what_the_guard_wants() -> None:
    """Opened with less, the engine names the same figure."""
    bundle = open_bundle(EMBEDDED / "nano")
    header = gguf.read(model_file(bundle))
    arch = header.architecture
    heads, width = (
        header.integer(f"{arch}.{key}") for key in ("attention.head_count", "embedding_length")
    )
    shape = Shape(
        layers=header.integer(f"{arch}.block_count"),
        kv_heads=header.integer(f"{arch}.attention.head_count_kv"),
        head_dim=header.integer(f"{arch}.attention.key_length", width // heads),
        hidden=width,
        feed_forward=header.integer(f"{arch}.feed_forward_length"),
        vocab=len(header.items("tokenizer.ggml.tokens")),
    )
    entry = Entry("hf:a/b", "MIT", "https://a", context=header.context_length, shape=shape)
    wanted = module.needed_bytes(entry, header.size_bytes)
    engine = load(engines, "llamacpp")
    with pytest.raises(MemoryLimitError, match=f"needs {wanted >> 20} MiB"):
        engine.open(bundle, engine.Config(memory_gib=0.9 * wanted / 2**30))
    engine.open(bundle, engine.Config(memory_gib=1.01 * wanted / 2**30))


def test_more_memory_never_takes_fewer_bits() -> None:
    for name, entry in catalog().items():
        taken = [format for format in by_memory(entry).values() if format]
        assert taken == sorted(taken, key=FORMATS.index, reverse=True), name


def test_what_a_4_gib_device_and_one_of_16_take() -> None:
    small, large = catalog()["qwen3-4b"], catalog()["gpt-oss-20b"]
    assert by_memory(small) == {4: "Q5_K_M", 6: "Q8_0", 8: "Q8_0", 16: "Q8_0"}
    assert by_memory(large) == {4: "", 6: "", 8: "", 16: "MXFP4"}
    assert by_memory(catalog()["smollm2-135m"]) == {}


@pytest.mark.parametrize("name", [name for name, entry in catalog().items() if entry.repo])
def test_the_page_has_them(name: str) -> None:
    entry = catalog()[name]
    cells = [format or "-" for format in by_memory(entry).values()]
    cells = cells if entry.weights == "gguf" else ["export"] * len(cells)
    row = f"| `{name}` | {entry.licence} | {' | '.join(cells)} |"
    assert row in (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()


def test_what_does_not_fit_names_what_would() -> None:
    with pytest.raises(MemoryLimitError, match="gpt-oss-20b does not fit: MXFP4") as raised:
        choose("gpt-oss-20b", {"MXFP4": 12_109_566_624}, memory_gib=6)
    assert raised.value.hint.startswith("these would fit: ministral-3-8b-reasoning, ")
    assert "pull gpt-oss-20b:MXFP4" in raised.value.hint
    with pytest.raises(MemoryLimitError) as raised:
        choose("qwen3-4b", {"Q4_K_M": 2_497_280_256}, memory_gib=0.05)
    assert raised.value.hint.startswith("free some memory; ")


def test_the_card_of_what_is_not_here(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    rows = dict(
        re.split(r"  +", line, maxsplit=1) for line in cli("show", "qwen3-4b").out.splitlines()
    )
    assert rows["here"] == "no: edgereason pull qwen3-4b"
    assert rows["from"] == "hf:Qwen/Qwen3-4B-GGUF"
    assert rows["tried here"] == "nothing"
    assert rows["takes of"].startswith("4 GiB: Q5_K_M, 6 GiB: Q8_0, ")
    data = cli("show", "qwen3-4b", "--json").json
    assert data["cached"] is False
    assert data["fits"]["16"] == "Q8_0"
    assert "safetensors: edgereason export hf:SONGJUNTU" in cli("show", "autothink-1.5b").out
    assert cli("show", "qwen3-4b", "--verify").code == 3
    listed = {model["name"]: model for model in cli("list", "--json").json["models"]}
    assert listed["qwen3-4b"]["thinks"] == catalog()["qwen3-4b"].thinks
    assert "4.02 B weights" in cli("list").out

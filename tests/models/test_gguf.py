"""The GGUF reader against small files, whole, cut short and damaged in every byte of the header."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgereason.errors import BundleError, ModelNotFoundError
from edgereason.models import gguf
from support.gguf_files import CHATML, gguf_bytes, metadata, string, write_gguf


def read_bytes(folder: Path, raw: bytes) -> gguf.Gguf:
    path = folder / "tiny.gguf"
    path.write_bytes(raw)
    return gguf.read(path)


def use(header: gguf.Gguf) -> None:
    """Everything that a bundle asks of a header."""
    header.control_tokens()
    for which in ("bos", "eos"):
        header.token(which)
    header.kv_bytes_per_token()
    assert isinstance(header.num_parameters, int)
    assert isinstance(header.chat_template + header.quantization + header.name, str)


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    header = gguf.read(write_gguf(tmp_path / "tiny.gguf"))
    assert header.architecture == "llama"
    assert header.name == "Tiny"
    assert header.licence == "mit"
    assert header.quantization == "F16"
    assert header.context_length == 512
    assert header.num_parameters == 16 * 8 + 16
    assert header.chat_template == CHATML
    assert (header.token("bos"), header.token("eos")) == ("<|im_start|>", "<|im_end|>")
    assert header.token("padding") == ""
    assert header.control_tokens() == (
        ("<unk>", "<|im_start|>", "<|im_end|>"),
        ("<think>", "</think>", "  "),
    )
    assert header.size_bytes == (tmp_path / "tiny.gguf").stat().st_size


def test_kv_bytes_follow_the_geometry(tmp_path: Path) -> None:
    header = gguf.read(write_gguf(tmp_path / "a.gguf"))
    per_layer = 2 * (16 // 4) * 2  # KV heads * width * (key, value)
    assert header.kv_bytes_per_token("f16") == 2 * per_layer * 2
    assert header.kv_bytes_per_token("q8_0") == 2 * per_layer * 34 // 32
    wide = metadata(llama__attention__key_length=32, llama__attention__value_length=16)
    assert gguf.read(write_gguf(tmp_path / "b.gguf", wide)).kv_bytes_per_token() == 2 * 2 * 48 * 2
    uneven = metadata(llama__attention__head_count_kv=[1, 3])
    assert gguf.read(write_gguf(tmp_path / "c.gguf", uneven)).kv_bytes_per_token() == 4 * 8 * 2
    unknown = {"general.architecture": "mamba", "mamba.block_count": 4}
    assert gguf.read(write_gguf(tmp_path / "d.gguf", unknown)).kv_bytes_per_token() == 0


def test_array_items_of_every_kind(tmp_path: Path) -> None:
    header = gguf.read(write_gguf(tmp_path / "tiny.gguf"))
    assert header.items("tokenizer.ggml.tokens")[3:5] == ["a", "b"]
    assert header.items("tokenizer.ggml.token_type")[:2] == [2, 3]
    assert header.items("general.name") == []


def test_version_2_and_the_tensor_table(tmp_path: Path) -> None:
    header = read_bytes(tmp_path, gguf_bytes(version=2))
    assert [(t.name, t.shape, t.num_bytes) for t in header.tensors] == [
        ("w", (16, 8), 512),
        ("b", (16,), 64),
    ]
    assert header.tensors[1].offset == header.tensors[0].offset + 512


def test_a_truncated_file_names_the_tensor(tmp_path: Path) -> None:
    whole = gguf_bytes()
    with pytest.raises(BundleError, match="truncated: tensor b needs bytes up to") as raised:
        read_bytes(tmp_path, whole[:-40])
    assert f"the file has {len(whole) - 40:,}" in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 20, 24, 60, 300])
def test_a_file_cut_in_its_header(tmp_path: Path, length: int) -> None:
    with pytest.raises(BundleError):
        read_bytes(tmp_path, gguf_bytes()[:length])


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not a GGUF file: it starts with b'PK"):
        read_bytes(tmp_path, b"PK\3\4" + bytes(100))
    with pytest.raises(BundleError, match="version 1, known are 2 and 3"):
        read_bytes(tmp_path, gguf_bytes(version=1))
    with pytest.raises(ModelNotFoundError, match="no such file"):
        gguf.read(tmp_path / "absent.gguf")
    with pytest.raises(BundleError, match="cannot read"):
        gguf.read(tmp_path)


def with_entry(entry: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 0), "1,152,921,504,606,846,976 tensors"),
        (with_entry(struct.pack("<Q", 1 << 40)), "length of 1,099,511,627,776"),
        (with_entry(string("k") + struct.pack("<I", 77)), "k has unknown type 77"),
        (with_entry(string("k") + struct.pack("<IIQ", 9, 8, 1 << 40)), "1,099,511,627,776 items"),
        (with_entry(string("k") + struct.pack("<IIQ", 9, 4, 1000)), "truncated: k needs"),
        (with_entry(string("k") + struct.pack("<IIQ", 9, 9, 1)), "items of unknown type 9"),
        (with_entry(string("k") + struct.pack("<IIQQ", 9, 8, 1, 1 << 62)), "over the end"),
        (with_entry(string(b"\xff\xfe") + struct.pack("<IB", 0, 1)), "not UTF-8"),
        (with_entry(string("k") + struct.pack("<IB", 7, 2)), "neither true nor false"),
        (
            gguf_bytes({"general.alignment": 24}, tensors=()),
            "general.alignment is 24, not a power of two",
        ),
    ],
)
def test_hostile_lengths(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=r"tiny.gguf is (damaged|truncated)") as raised:
        read_bytes(tmp_path, raw)
    assert message in raised.value.message


def test_keys_come_once(tmp_path: Path) -> None:
    entry = string("k") + struct.pack("<IB", 0, 1)
    raw = struct.pack("<4sIQQ", b"GGUF", 3, 0, 2) + entry + entry
    with pytest.raises(BundleError, match="'k' comes twice"):
        read_bytes(tmp_path, raw)


def test_every_flipped_byte_is_survived(tmp_path: Path) -> None:
    """Each byte of the header set to each of a few values: an answer or a BundleError, soon."""
    whole = bytearray(gguf_bytes())
    header_bytes = len(whole) - 512 - 64
    path = tmp_path / "tiny.gguf"
    start = time.monotonic()
    refusals = []
    for at in range(header_bytes):
        for flipped in (whole[at] ^ 0x01, whole[at] ^ 0x80, 0xFF):
            damaged = bytes(whole[:at]) + bytes([flipped]) + bytes(whole[at + 1 :])
            path.write_bytes(damaged)
            try:
                use(gguf.read(path))
            except BundleError as error:
                refusals.append(error.message)
    assert len(refusals) > header_bytes / 2  # lengths and types are most of a header
    assert all("tiny.gguf" in message for message in refusals)
    assert time.monotonic() - start < 60


@settings(deadline=None, max_examples=200)
@given(raw=st.binary(max_size=400))
def test_any_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + raw)
    with contextlib.suppress(BundleError):
        use(gguf.read(path))


@pytest.mark.parametrize(
    ("version", "message", "hint"),
    [
        (struct.unpack("<I", struct.pack(">I", 3))[0], "is big-endian", "little-endian"),
        (4, "has GGUF version 4, known are 2 and 3", "newer than this edgereason"),
        (1, "has GGUF version 1, known are 2 and 3", "convert the model anew"),
    ],
)
def test_files_for_others(tmp_path: Path, version: int, message: str, hint: str) -> None:
    with pytest.raises(BundleError, match=message) as raised:
        read_bytes(tmp_path, gguf_bytes(version=version))
    assert hint in raised.value.hint


def test_tensors_that_lie_over_each_other(tmp_path: Path) -> None:
    raw = gguf_bytes()
    second = raw.rindex(string("b")) + len(string("b")) + 4 + 8 + 4  # dimensions, a width, the type
    assert struct.unpack_from("<Q", raw, second) == (512,)
    path = tmp_path / "model.gguf"
    path.write_bytes(raw[:second] + struct.pack("<Q", 480) + raw[second + 8 :])
    with pytest.raises(BundleError, match="tensor b lies over w"):
        gguf.read(path)

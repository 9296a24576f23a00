"""Prefix files: what is written is read back, and what is wrong is said."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgereason.errors import BundleError, ModelNotFoundError
from edgereason.models.bundle import open_bundle, sha256_of
from edgereason.models.prefix_file import Prefix, base_hash, check_base, read_prefix, write_prefix
from edgereason.models.safetensors import read_file, write_file
from support.gguf_files import write_gguf

BASE = "ab" * 32


def prefix(layers: int = 2, heads: int = 2, positions: int = 3, width: int = 4) -> Prefix:
    draw = np.random.default_rng(0)
    parts = [
        [draw.normal(size=(heads, positions, width)).astype(np.float16).astype(np.float32)] * layers
        for _ in range(2)
    ]
    return Prefix("skill", BASE, *parts, "a task", {"steps": 7})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_prefix(prefix(), tmp_path / "p.safetensors")
    return tmp_path / "p.safetensors"


def rewrite(path: Path, **changes: str) -> None:
    """Changes the file's metadata; "" takes one out."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    told = {**header["__metadata__"], **changes}
    header["__metadata__"] = {key: text for key, text in told.items() if text}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_comes_back_as_it_was(path: Path) -> None:
    found, made = read_prefix(path), prefix()
    assert (found.name, found.base, found.task, found.training) == (
        "skill",
        BASE,
        "a task",
        {"steps": 7},
    )
    assert found.shape == (2, 2, 3, 4)
    for a, b in zip((*found.keys, *found.values), (*made.keys, *made.values), strict=True):
        np.testing.assert_array_equal(a, b)


def test_others_read_it(path: Path) -> None:
    load_file = pytest.importorskip("safetensors.numpy").load_file
    assert load_file(path)["layers.1.value"].shape == (2, 3, 4)


def test_every_cut_is_noticed(path: Path) -> None:
    raw = path.read_bytes()
    for length in range(0, len(raw), 7):
        path.write_bytes(raw[:length])
        with pytest.raises(BundleError):
            read_prefix(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "no prefix of edgereason's"),
        ({"format": ""}, "no prefix of edgereason's"),
        ({"base": ""}, "does not name its base"),
        ({"base": "short"}, "does not name its base"),
        ({"slots": "4"}, "has 3 slots and promises 4"),
        ({"training": "[]"}, "training figures"),
    ],
)
def test_wrong_metadata(path: Path, changes: dict[str, str], message: str) -> None:
    rewrite(path, **changes)
    with pytest.raises(BundleError, match=message):
        read_prefix(path)


def test_wrong_shapes_and_numbers(tmp_path: Path) -> None:
    good = prefix()
    path = tmp_path / "p.safetensors"
    write_prefix(Prefix("x", BASE, good.keys, [value[:, :2] for value in good.values]), path)
    with pytest.raises(BundleError, match=r"has shape \(2, 2, 4\)"):
        read_prefix(path)
    nan = [np.full_like(key, np.nan) for key in good.keys]
    with pytest.raises(BundleError, match="float16 cannot"):
        write_prefix(Prefix("x", BASE, nan, good.values), path)
    write_prefix(good, path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-2] + np.float16(np.inf).tobytes())
    with pytest.raises(BundleError, match="not finite"):
        read_prefix(path)
    with pytest.raises(ModelNotFoundError, match="no such prefix"):
        read_prefix(tmp_path / "none.safetensors")


def test_a_foreign_gguf_is_named_by_its_sum_and_another_base_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    found = base_hash(open_bundle(path))
    assert found == sha256_of(path)
    with pytest.raises(BundleError, match=f"weights {BASE[:12]}, m has {found[:12]}"):
        check_base(prefix(), found, "m")
    check_base(prefix(), BASE, "m")


def test_changed_numbers_are_noticed(path: Path) -> None:
    """Each bit of the numbers, and what is told beside them."""
    raw = path.read_bytes()
    for at in range(len(raw) - 48 * 2, len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(BundleError, match=r"its sha256 is|not finite"):
            read_prefix(path)
    path.write_bytes(raw)
    rewrite(path, task="another")
    with pytest.raises(BundleError, match="its sha256 is"):
        read_prefix(path)


def test_a_prefix_of_an_early_version_has_no_sum(path: Path) -> None:
    table, told = read_file(path)
    del told["sha256"]
    numbers = {name: stored.read().astype(np.float16) for name, stored in table.items()}
    write_file(path, numbers, told)
    assert read_prefix(path).num_positions == 3


def test_tensors_that_lie_over_each_other(path: Path) -> None:
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header["layers.1.key"]["data_offsets"] = header["layers.0.key"]["data_offsets"]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    with pytest.raises(BundleError, match=r"tensor layers.\d.key lies over layers.\d.key"):
        read_prefix(path)

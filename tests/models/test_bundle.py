"""Bundles: bare files, folders, and manifests that are wrong or mean harm."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from edgereason.errors import BundleError, ModelNotFoundError
from edgereason.models.bundle import (
    MANIFEST,
    Bundle,
    File,
    model_file,
    open_bundle,
    sha256_of,
    to_dict,
    verify,
    write_bundle,
)
from edgereason.models.variants.coconut import Variant
from edgereason.prompt.reasoning import PLAIN, Kind, Switch
from edgereason.records import Sampling
from support.chat_templates import QWEN3
from support.gguf_files import gguf_bytes, metadata, write_gguf


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny-f16.gguf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with one GGUF in it."""
    made = tmp_path / "made"
    made.mkdir()
    described = open_bundle(write_gguf(made / "tiny.gguf", metadata(QWEN3)))
    write_bundle(replace(described, name="tiny"), made)
    return made


def change(folder: Path, **values: Any) -> Path:
    manifest = folder / MANIFEST
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, **values}))
    return folder


def test_a_bare_file_describes_itself(bare: Path) -> None:
    bundle = open_bundle(bare)
    assert (bundle.name, bundle.engine, bundle.architecture) == ("tiny-f16", "llamacpp", "llama")
    assert (bundle.base_model, bundle.licence, bundle.quantization) == ("Tiny", "mit", "F16")
    assert (bundle.context, bundle.num_parameters) == (512, 144)
    assert bundle.kv_bytes_per_token["f16"] > bundle.kv_bytes_per_token["q8_0"] > 0
    assert bundle.control_tokens == ("<unk>", "<|im_start|>", "<|im_end|>")
    assert (bundle.reasoning, bundle.sampling) == (PLAIN, Sampling())
    assert bundle.files == (File("tiny-f16.gguf", bare.stat().st_size),)
    assert model_file(bundle) == bare
    assert open_bundle(str(bare)) == bundle


def test_reasoning_and_sampling_come_from_the_file(tmp_path: Path) -> None:
    bundle = open_bundle(write_gguf(tmp_path / "a.gguf", metadata(QWEN3)))
    assert bundle.reasoning.switch is Switch.KWARG
    assert bundle.sampling == Sampling(temperature=0.6, top_p=0.95)
    assert "<think>" in bundle.control_tokens  # the template writes it
    assert "  " not in bundle.control_tokens  # an ordinary word
    told = metadata(general__sampling__temp=0.7, general__sampling__top_k=20)
    bundle = open_bundle(write_gguf(tmp_path / "b.gguf", told))
    assert bundle.sampling == Sampling(temperature=0.7, top_k=20)
    wrong = metadata(general__sampling__temp=-1.0)
    with pytest.raises(BundleError, match=r"c.gguf recommends wrong sampling: temperature must be"):
        open_bundle(write_gguf(tmp_path / "c.gguf", wrong))


def test_a_folder_comes_back_as_it_was_written(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.name == "tiny"
    assert bundle.reasoning.kind is Kind.MARKER
    assert bundle.reasoning.off.variables == {"enable_thinking": False}
    assert bundle.files[0].sha256 == sha256_of(folder / "tiny.gguf")
    assert model_file(bundle) == folder / "tiny.gguf"
    assert write_bundle(bundle, folder) == bundle
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "tiny.gguf"]


def test_manifests_with_keys_that_nothing_reads_any_more_still_open(folder: Path) -> None:
    bundle = open_bundle(folder)
    old = {"variant_options": {}, "step_costs": {"orin": {"decode_ms": 5.5}}}
    assert open_bundle(change(folder, **old)) == bundle
    write_bundle(bundle, folder)
    assert not set(old) & set(json.loads((folder / MANIFEST).read_text()))
    assert json.loads(json.dumps(to_dict(bundle)))["reasoning"]["kind"] == "marker"


def test_all_fields_survive_json(folder: Path) -> None:
    rich = replace(
        open_bundle(folder),
        sampling=Sampling(temperature=0.5, logit_bias={7: -1.5}, seed=2**64 - 1),
        variant=Variant(latents=4),
        recommended={"auto": {"threshold": 0.25}},
    )
    assert write_bundle(rich, folder) == rich


def test_a_threshold_of_an_earlier_manifest_is_recommended_to_auto(folder: Path) -> None:
    assert open_bundle(change(folder, auto_threshold=0.25)).recommended == {
        "auto": {"threshold": 0.25}
    }


def test_a_manifest_that_recommends_nothing_is_read_by_earlier_versions(folder: Path) -> None:
    write_bundle(open_bundle(folder), folder)
    assert "recommended" not in json.loads((folder / MANIFEST).read_text())


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no such model: .*absent"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match=r"is not a bundle: it has no edgereason.json"):
        open_bundle(tmp_path)


MARKS: Final = {
    **{
        "kind": "marker",
        "switch": "prefilled block",
        "opens": [],
        "shuts": ["</think>"],
        "close": "</think>",
    },
    **{"probe": "", "on": {}, "off": {}},
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"format": None}, "has format None"),
        ({"contxt": 5}, "unknown key 'contxt'"),
        ({"context": "many"}, "context must be a whole number"),
        ({"engine": 5}, "engine must be text"),
        ({"files": []}, "names no files"),
        ({"files": [{"path": "tiny.gguf"}]}, "size_bytes must be given"),
        ({"files": [{"path": "tiny.gguf", "size_bytes": 5}]}, "the bundle promises 5"),
        ({"files": [{"path": "absent.gguf", "size_bytes": 5}]}, "absent.gguf is missing"),
        ({"sampling": {"temperature": -1}}, "temperature must be 0 or more"),
        ({"reasoning": {"kind": "magic"}}, "reasoning.kind must be one of marker, cue"),
        ({"reasoning": {**MARKS, "shuts": [""]}}, "opens and shuts are texts of one character"),
        ({"reasoning": {**MARKS, "opens": ["<think>", ""]}}, "opens and shuts are texts of one"),
        ({"path": "/etc"}, "unknown key 'path'"),
        ({"variant": {"kind": "coconut", "latents": -1}}, "latents must be 0 or more"),
    ],
)
def test_wrong_manifests(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError) as raised:
        open_bundle(change(folder, **values))
    assert message in raised.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100000])
def test_manifests_that_are_not_json(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=MANIFEST):
        open_bundle(folder)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../secret", "a\\..\\b", "", ".", "link"]
)
def test_files_outside_the_folder_are_refused(folder: Path, path: str) -> None:
    secret = folder.parent / "secret"
    secret.write_text("x" * 5)
    os.symlink(secret, folder / "link")
    with pytest.raises(BundleError):
        open_bundle(change(folder, files=[{"path": path, "size_bytes": 5}]))


def test_a_file_that_was_cut_is_seen_at_once(folder: Path) -> None:
    weights = folder / "tiny.gguf"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError, match="the bundle promises"):
        open_bundle(folder)


def test_a_damaged_header_is_seen_at_once(folder: Path) -> None:
    weights = folder / "tiny.gguf"
    raw = bytearray(weights.read_bytes())
    raw[31] ^= 0xFF  # the length of the first key
    weights.write_bytes(raw)
    with pytest.raises(
        BundleError, match=r"tiny.gguf is damaged: the name of metadata key 0 claims"
    ):
        open_bundle(folder)


def test_a_changed_byte_is_seen_by_verify(folder: Path) -> None:
    bundle = open_bundle(folder)
    calls: list[tuple[int, int]] = []
    verify(bundle, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (bundle.files[0].size_bytes,) * 2
    weights = folder / "tiny.gguf"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    bundle = open_bundle(folder)  # sizes are right
    with pytest.raises(BundleError, match=r"tiny.gguf is not what the bundle promises"):
        verify(bundle)


def test_a_bare_file_has_nothing_to_verify_against(bare: Path) -> None:
    with pytest.raises(BundleError, match="no recorded sha256"):
        verify(open_bundle(bare))


def test_writing_needs_the_files(tmp_path: Path, bare: Path) -> None:
    bundle: Bundle = replace(open_bundle(bare), files=(File("other.gguf", 1),))
    with pytest.raises(BundleError, match=r"other.gguf is missing"):
        write_bundle(bundle, tmp_path)
    assert not (tmp_path / MANIFEST).exists()


def test_weights_in_two_files(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "tiny-2.gguf").write_bytes(gguf_bytes())
    bundle = open_bundle(folder)
    both = (*bundle.files, File("more/tiny-2.gguf", 0))
    written = write_bundle(replace(bundle, files=both), folder)
    assert [file.path for file in written.files] == ["tiny.gguf", "more/tiny-2.gguf"]
    verify(written)


@pytest.mark.parametrize(
    ("more", "what", "way_out"),
    [
        ({"general__type": "adapter"}, "a LoRA adapter", "--lora"),
        ({"general__type": "imatrix"}, "an importance matrix", "--imatrix"),
        ({"general__type": "mmproj"}, "an image projector", "language model"),
        ({"general__architecture": "clip"}, "an image projector", "language model"),
    ],
)
def test_files_that_are_no_models(
    tmp_path: Path, more: dict[str, str], what: str, way_out: str
) -> None:
    path = write_gguf(tmp_path / "other.gguf", metadata(**more))
    with pytest.raises(BundleError, match=f"other.gguf is {what}, no model") as raised:
        open_bundle(path)
    assert way_out in raised.value.hint

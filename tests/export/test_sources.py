"""What is read before an export: damaged, hostile and unknown models end in one sentence."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="models are made with torch")
pytest.importorskip("transformers", reason="models are made with transformers")
pytest.importorskip("gguf", reason="the extra `export`")

from edgereason.errors import BundleError, DownloadError, ModelNotFoundError, UnsupportedError
from edgereason.export.job import Job, export
from edgereason.export.metadata import write_vocabulary
from edgereason.export.sources.open import open_source
from edgereason.models.bundle import open_bundle
from edgereason.prompt.reasoning import Kind
from support import hf_models
from support.chat_templates import QWEN3
from support.tiny_models import write_model

Change = Callable[[Path], object]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_models.save_model(tmp_path_factory.mktemp("saved") / "tiny", "qwen2")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def edit(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | changes))


def with_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the table of the safetensors file and leaves the numbers."""
    raw = weights(folder).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    weights(folder).write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def retyped(dtype: str, width: int) -> Change:
    def change(folder: Path) -> None:
        def retype(header: dict[str, Any]) -> None:
            entry = header["model.layers.0.mlp.up_proj.weight"]
            begin = entry["data_offsets"][0]
            size = entry["shape"][0] * entry["shape"][1] * width
            entry |= {"dtype": dtype, "data_offsets": [begin, begin + size]}

        with_header(folder, retype)

    return change


def resized(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["shape"] = [1 << 40]


def misplaced(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = [1 << 40, (1 << 40) + 256]


def sharded(folder: Path) -> None:
    """An index whose second file is not there."""
    names = json.loads(_table(folder))
    weights(folder).rename(folder / "model-00001-of-00002.safetensors")
    places = dict.fromkeys(names, "model-00001-of-00002.safetensors")
    places["model.norm.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def outside(folder: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _table(folder: Path) -> bytes:
    raw = weights(folder).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    return json.dumps(header).encode()


def tokenizer(folder: Path, **changes: Any) -> None:
    edit(folder / "tokenizer.json", **changes)


DAMAGED: dict[str, tuple[Change, str]] = {
    "no weights": (lambda f: weights(f).unlink(), "has no model.safetensors"),
    "empty weights": (lambda f: weights(f).write_bytes(b""), "truncated"),
    "half the weights": (
        lambda f: weights(f).write_bytes(weights(f).read_bytes()[:-1000]),
        "truncated: tensor",
    ),
    "no table": (lambda f: weights(f).write_bytes(b"\xff" * 4000), "header claims"),
    "a table that is no JSON": (
        lambda f: weights(f).write_bytes(struct.pack("<Q", 4) + b"{{{{"),
        "not JSON",
    ),
    "a silly shape": (lambda f: with_header(f, resized), "of shape"),
    "a silly place": (lambda f: with_header(f, misplaced), "needs bytes up to"),
    "a tensor missing": (
        lambda f: with_header(f, lambda h: h.pop("model.norm.weight")),
        "lacks output_norm.weight",
    ),
    "a shard missing": (sharded, "model-00002-of-00002.safetensors is missing"),
    "a shard outside": (outside, "outside its folder"),
    "another config": (
        lambda f: edit(f / "config.json", intermediate_size=96),
        "has shape",
    ),
    "heads that do not fit": (
        lambda f: edit(f / "config.json", num_key_value_heads=3),
        "must divide",
    ),
    "a count that is none": (
        lambda f: edit(f / "config.json", num_hidden_layers="many"),
        "expected a count",
    ),
    "a config that is no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        "cannot read",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
    "a tokenizer of another model": (
        lambda f: tokenizer(f, model={"type": "BPE", "vocab": {"a": 9999}, "merges": []}),
        "do not belong together",
    ),
    "a tokenizer that is not one": (
        lambda f: tokenizer(f, model={"type": "BPE", "vocab": ["a"], "merges": []}),
        "not what it should be",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_folder_is_refused(what: str, model: Path) -> None:
    change, message = DAMAGED[what]
    change(model)
    with pytest.raises(BundleError, match=message):
        open_source(model)


UNKNOWN: dict[str, tuple[Change, str]] = {
    "architecture": (
        lambda f: edit(f / "config.json", model_type="mamba"),
        "architecture 'mamba' .known: gemma3, gpt2, llama",
    ),
    "int8 weights": (retyped("I8", 1), "ffn_up.weight is stored as I8"),
    "fp8 weights": (retyped("F8_E4M3", 1), "ffn_up.weight is stored as F8_E4M3"),
    "quantized": (
        lambda f: edit(f / "config.json", quantization_config={"quant_method": "gptq"}),
        "quantized already, by 'gptq'",
    ),
    "positions": (
        lambda f: edit(f / "config.json", rope_parameters={"rope_type": "yarn", "rope_theta": 1e4}),
        "scales its positions by 'yarn'",
    ),
    "activation": (lambda f: edit(f / "config.json", hidden_act="relu2"), "activation is 'relu2'"),
    "window": (lambda f: edit(f / "config.json", use_sliding_window=True), "use_sliding_window"),
    "more tensors": (
        lambda f: with_header(
            f,
            lambda h: h.update(
                {"score.weight": h["model.norm.weight"] | {"shape": [0], "data_offsets": [0, 0]}}
            ),
        ),
        "score.weight",
    ),
    "kind of tokenizer": (lambda f: tokenizer(f, model={"type": "Unigram"}), "kind 'Unigram'"),
    "cut of texts": (
        lambda f: tokenizer(f, pre_tokenizer={"type": "Whitespace"}),
        "not known: NFC . Whitespace",
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_no_target_knows_is_refused_by_name(what: str, model: Path) -> None:
    change, message = UNKNOWN[what]
    change(model)
    with pytest.raises(UnsupportedError, match=message):
        open_source(model)


class Hostile:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_pickle_is_never_opened(model: Path, tmp_path: Path, as_file: bool) -> None:
    mark = tmp_path / "it ran"
    weights(model).unlink()
    hostile = model / "pytorch_model.bin"
    hostile.write_bytes(pickle.dumps(Hostile(mark)))
    with pytest.raises(UnsupportedError, match=r"pytorch_model.bin is a pickle.*safetensors"):
        open_source(hostile if as_file else model)
    assert not mark.exists()
    pickle.loads(hostile.read_bytes())
    assert mark.exists()  # it would have


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("to", ["gguf", "onnx"])
def test_one_number_that_is_not_finite_is_found(
    number: float, to: str, model: Path, tmp_path: Path
) -> None:
    raw = weights(model).read_bytes()
    weights(model).write_bytes(raw[:-4] + np.float32(number).tobytes())
    with pytest.raises(BundleError, match=r"weight of tiny holds numbers that are not finite"):
        export(model, Job(to, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_same_in_a_gguf(tmp_path: Path) -> None:
    spoilt = {"blk.1.ffn_up.weight": np.full((128, 64), np.nan, np.float32)}
    spoilt["blk.1.ffn_up.weight"][:, 1:] = 0
    path = write_model(tmp_path / "tiny.gguf", "dense", spoilt)
    with open_source(path) as source:
        source.tensor("blk.0.ffn_up.weight")
        with pytest.raises(BundleError, match=r"blk\.1\.ffn_up\.weight of tiny\.gguf holds"):
            source.tensor("blk.1.ffn_up.weight")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        open_source(tmp_path)


def test_a_model_without_template_is_a_plain_one(model: Path, tmp_path: Path) -> None:
    (model / "chat_template.jinja").unlink()
    with open_source(model) as source:
        assert source.chat_template == ""
        write_vocabulary(source, tmp_path / "vocab.gguf")
    bundle = open_bundle(tmp_path / "vocab.gguf")
    assert bundle.chat_template == ""
    assert bundle.reasoning.kind is Kind.CUE


def test_the_vocabulary_says_what_the_model_says(tmp_path: Path) -> None:
    folder = tmp_path / "thinker"
    hf_models.save_model(folder, "qwen3", template=QWEN3)
    edit(folder / "generation_config.json", do_sample=True, temperature=0.5, top_k=20)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: a/b\n---\n# Text\n")
    with open_source(folder) as source:
        write_vocabulary(source, tmp_path / "vocab.gguf")
        assert source.base_model == "a/b"
    bundle = open_bundle(tmp_path / "vocab.gguf")
    assert bundle.reasoning.kind is Kind.MARKER
    assert bundle.reasoning.shuts == ("</think>",)
    assert (bundle.licence, bundle.context) == ("apache-2.0", hf_models.CONTEXT)
    assert (bundle.bos_token, bundle.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (bundle.sampling.temperature, bundle.sampling.top_k) == (0.5, 20)
    assert set(hf_models.SPECIAL) <= set(bundle.control_tokens)


def test_a_model_that_says_so_is_greedy_though_it_thinks(tmp_path: Path) -> None:
    hf_models.save_model(tmp_path / "thinker", "qwen3", template=QWEN3)
    for says, temperature in ((False, 0.0), (None, 0.6)):
        edit(tmp_path / "thinker" / "generation_config.json", do_sample=says)
        with open_source(tmp_path / "thinker") as source:
            write_vocabulary(source, tmp_path / "vocab.gguf")
        assert open_bundle(tmp_path / "vocab.gguf").sampling.temperature == temperature


def test_old_spellings_of_a_config_are_read(model: Path, tmp_path: Path) -> None:
    with open_source(model) as source:
        new = source.architecture
    path = model / "config.json"
    data = json.loads(path.read_text())
    theta = data.pop("rope_parameters")["rope_theta"]
    path.write_text(json.dumps(data | {"rope_theta": theta, "rope_scaling": None}))
    with open_source(model) as source:
        assert source.architecture == new


def test_names_without_prefix_and_tables_that_follow_are_read(tmp_path: Path) -> None:
    """As OpenAI's own GPT-2 is stored."""
    from safetensors.numpy import load_file, save_file

    folder = hf_models.save_model(tmp_path / "gpt2", "gpt2")
    with open_source(folder) as source:
        expected = source.tensor("blk.1.attn_qkv.weight")
    tensors = load_file(weights(folder))
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
    save_file(bare, weights(folder))
    with open_source(folder) as source:
        assert source.shape("blk.1.attn_qkv.weight") == (3 * hf_models.EMBD, hf_models.EMBD)
        np.testing.assert_array_equal(source.tensor("blk.1.attn_qkv.weight"), expected)


def test_ends_and_tokens_without_a_row(model: Path) -> None:
    """A second end token ends a turn; an added token beyond the embedding is left out."""
    edit(model / "generation_config.json", eos_token_id=[2, 0])
    added = json.loads((model / "tokenizer.json").read_text())["added_tokens"]
    beyond = {**added[0], "id": hf_models.ROWS, "content": "<image>"}
    tokenizer(model, added_tokens=[*added, beyond])
    with open_source(model) as source:
        assert source.vocabulary["tokenizer.ggml.eos_token_id"] == 2
        assert source.vocabulary["tokenizer.ggml.eot_token_id"] == 0
        assert len(source.vocabulary["tokenizer.ggml.tokens"]) == hf_models.ROWS
        assert "<image>" not in source.vocabulary["tokenizer.ggml.tokens"]


def test_a_hub_name_is_fetched_without_pickles(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub`")
    asked: dict[str, Any] = {}

    def snapshot(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(saved)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with open_source("hf:maker/tiny-qwen") as source:
        assert (source.name, source.base_model) == ("tiny-qwen", "maker/tiny-qwen")
    assert asked["repo"] == "maker/tiny-qwen"
    allowed = set(asked["allow_patterns"])
    assert allowed == {"*.safetensors", "*.json", "*.jinja", "README.md"}


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub`")

    def broken(repo: str, **options: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "snapshot_download", broken)
    with pytest.raises(DownloadError, match="cannot fetch maker/tiny-qwen: no route"):
        open_source("maker/tiny-qwen")

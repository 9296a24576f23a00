"""GGUF files of ours against `transformers`, on tiny models with random weights.

Prompts of three lengths in one batch, then 32 greedy steps of all three: logits and tokens.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="compares with transformers")
pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")

import llama_cpp as lib

from edgereason.export.job import Job, Result
from edgereason.export.job import export as export_model
from edgereason.export.sources.open import open_source
from edgereason.export.targets.gguf import _kind
from edgereason.export.weights.imatrix import Imatrix
from edgereason.export.weights.imatrix import write as write_imatrix
from edgereason.models import gguf
from edgereason.models.bundle import Bundle, model_file, open_bundle
from support import hf_models

LENGTHS = (5, 19, 11)  # longer and shorter than the window of gemma3
STEPS = 32
TOLERANCES = {"gpt2": 0.01, "gemma3": 0.01}  # ggml looks GELU up in a table of float16

_SILENT = lib.llama_log_callback(lambda level, text, data: None)


def export(source: Path, out: Path, quant: str) -> Result:
    return export_model(source, Job("gguf", out, {"quant": quant}))


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.integers(6, 390, length).tolist() for length in LENGTHS]


class Llama:
    """libllama as it computes best: KV in float32, no flash attention, which rounds to float16."""

    def __init__(self, path: Path) -> None:
        lib.llama_log_set(_SILENT, ctypes.c_void_p(0))
        self._model = lib.llama_model_load_from_file(
            str(path).encode(), lib.llama_model_default_params()
        )
        assert self._model
        options = lib.llama_context_default_params()
        options.n_ctx, options.n_seq_max, options.n_threads, options.n_threads_batch = 512, 3, 1, 1
        options.type_k = options.type_v = lib.GGML_TYPE_F32
        options.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.kv_unified = True
        self._context = lib.llama_init_from_model(self._model, options)
        assert self._context
        self._num_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))

    def decode(self, rows: list[tuple[int, int, int]]) -> list[Any]:
        """Logits of each row (sequence, position, token)."""
        batch = lib.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (seq, at, token) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, at, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
        assert lib.llama_decode(self._context, batch) == 0
        lib.llama_batch_free(batch)
        found = (lib.llama_get_logits_ith(self._context, i) for i in range(len(rows)))
        return [np.ctypeslib.as_array(row, (self._num_vocab,)).copy() for row in found]

    def close(self) -> None:
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)


def decoded(bundle: Bundle) -> tuple[list[list[int]], list[list[Any]]]:
    """Tokens of each sequence, prompt included, and the logits after each of them."""
    model = Llama(model_file(bundle))
    tokens = prompts()
    logits: list[list[Any]] = [[] for _ in tokens]
    rows = [(seq, *row) for seq, prompt in enumerate(tokens) for row in enumerate(prompt)]
    for _ in range(STEPS + 1):
        for (seq, *_rest), found in zip(rows, model.decode(rows), strict=True):
            logits[seq].append(found)
        rows = []
        for seq, those in enumerate(logits):
            token = int(those[-1].argmax())
            rows.append((seq, len(tokens[seq]), token))
            tokens[seq].append(token)
    model.close()
    return tokens, logits


@pytest.mark.parametrize("kind", hf_models.KINDS)
def test_a_gguf_says_what_transformers_says(kind: str, tmp_path: Path) -> None:
    import torch

    made = export(hf_models.save_model(tmp_path / "hf", kind), tmp_path / "out", "f32")
    assert made.tokens is not None
    assert made.tokens.num_same == made.tokens.num_texts
    tokens, logits = decoded(made.bundle)
    model = hf_models.build_model(kind)
    largest = 0.0
    for sequence, found in zip(tokens, logits, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([sequence[:-1]])).logits[0].numpy()
        largest = max(largest, float(np.abs(np.stack(found) - expected).max()))
        assert expected[-STEPS - 1 :].argmax(-1).tolist() == sequence[-STEPS - 1 :]
    print(f"{kind}: largest logit difference {largest:.2g}")
    assert largest < TOLERANCES.get(kind, 1e-4)


@pytest.mark.parametrize("kind", ["llama3", "smollm3", "gpt2", "gemma3"])
def test_what_was_written_is_read_back_as_it_was(kind: str, tmp_path: Path) -> None:
    folder = hf_models.save_model(tmp_path / "hf", kind)
    made = export(folder, tmp_path / "out", "f32")
    with open_source(folder) as given, open_source(made.bundle.path) as back:
        a, b = given.architecture, back.architecture
        assert np.allclose(a.rope_factors, b.rope_factors)
        for field in ("name", "num_heads", "head_dim", "tied", "rope_layers", "sliding_layers"):
            assert getattr(a, field) == getattr(b, field)
        assert a.rope_theta == pytest.approx(b.rope_theta)
        assert a.norm_eps == pytest.approx(b.norm_eps)
        assert a.embedding_scale == pytest.approx(b.embedding_scale)
        assert given.names() == back.names()
        for name in given.names():
            np.testing.assert_array_equal(given.tensor(name), back.tensor(name), name)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_shards_and_half_precision_are_read(dtype: str, tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "hf"
    model = hf_models.build_model("qwen2").to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size="100KB")
    hf_models.save_tokenizer(folder, "qwen2")
    assert len(list(folder.glob("*.safetensors"))) > 1
    with open_source(folder) as source:
        assert source.quantization == {"bfloat16": "BF16", "float16": "F16"}[dtype]
        expected = model.state_dict()["model.layers.1.mlp.down_proj.weight"].float().numpy()
        np.testing.assert_array_equal(source.tensor("blk.1.ffn_down.weight"), expected)


@pytest.mark.parametrize("quant", ["f16", "bf16", "q8_0", "q4_0_mixed", "q4_0", "q4_k_m", "iq4_xs"])
def test_every_format_opens_and_is_near(quant: str, tmp_path: Path) -> None:
    folder = hf_models.save_model(tmp_path / "hf", "qwen3")
    made = export(folder, tmp_path / "out", quant)
    assert open_bundle(made.bundle.path).quantization == quant.upper()
    assert sorted(path.name for path in made.bundle.path.iterdir()) == [
        "edgereason.json",
        "model.gguf",
    ]
    _, logits = decoded(made.bundle)
    _, exact = decoded(export(folder, tmp_path / "exact", "f32").bundle)
    num = LENGTHS[1]  # what follows the prompt may differ
    far = float(np.abs(np.stack(logits[1][:num]) - np.stack(exact[1][:num])).mean())
    bounds = {"f16": 0.002, "bf16": 0.02, "q8_0": 0.05}
    assert 0 < far < bounds.get(quant, 0.8)


def test_a_mix_is_coarse_where_a_model_bears_it(tmp_path: Path) -> None:
    """Gate and up of the layers in between; what they hold lies nearer than by plain rounding."""
    from gguf import GGMLQuantizationType, quants

    folder = hf_models.save_model(tmp_path / "hf", "qwen3")
    made = export(folder, tmp_path / "out", "q4_0_mixed")
    kinds = {each.name: each.type for each in gguf.read(made.bundle.path / "model.gguf").tensors}
    q4_0, q8_0 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0
    coarse = {name for name, kind in kinds.items() if kind == q4_0}
    assert coarse == {name for name in kinds if ".ffn_gate." in name or ".ffn_up." in name}
    assert {kinds[name] for name in set(kinds) - coarse} == {GGMLQuantizationType.F32, q8_0}
    with open_source(folder) as source, open_source(made.bundle.path) as back:
        for name in coarse:
            exact = source.tensor(name)
            plain = quants.dequantize(quants.quantize(exact, q4_0), q4_0)
            error, theirs = (
                float(np.square(each - exact).sum()) for each in (back.tensor(name), plain)
            )
            assert 0 < error < 0.97 * theirs


def test_a_mix_spares_the_first_and_the_last_layers() -> None:
    kinds = [_kind(f"blk.{i}.ffn_up.weight", (64, 64), "q4_0_mixed", 16) for i in range(16)]
    assert kinds == ["Q8_0"] * 2 + ["Q4_0"] * 12 + ["Q8_0"] * 2
    assert _kind("blk.5.ffn_down.weight", (64, 64), "q4_0_mixed", 16) == "Q8_0"
    assert _kind("blk.5.ffn_up.weight", (64, 40), "q4_0_mixed", 16) == "F16"


@pytest.mark.parametrize("quant", ["q4_0", "q4_0_mixed"])
def test_an_importance_matrix_reaches_the_quantizer(quant: str, tmp_path: Path) -> None:
    """Columns that matter are stored better than under an even matrix."""
    folder = hf_models.save_model(tmp_path / "hf", "llama")
    name = "blk.0.ffn_up.weight"
    with open_source(folder) as source:
        shapes = {
            each: source.shape(each) for each in source.names() if len(source.shape(each)) > 1
        }
        exact = source.tensor(name)
    errors = {}
    for way, heavy in (("even", 1.0), ("first columns", 1e4)):
        sums = {each: np.ones((1, shape[1]), np.float32) for each, shape in shapes.items()}
        sums[name][:, :8] = heavy
        matrix = Imatrix(sums, {each: np.ones(1, np.int64) for each in sums}, {})
        write_imatrix(matrix, tmp_path / "imatrix.gguf")
        options = {"quant": quant, "imatrix": tmp_path / "imatrix.gguf"}
        made = export_model(folder, Job("gguf", tmp_path / way, options))
        with open_source(made.bundle.path) as back:
            errors[way] = float(np.square(back.tensor(name) - exact)[:, :8].mean())
    assert errors["first columns"] < 0.9 * errors["even"]


@pytest.mark.model
def test_a_real_model_says_what_transformers_says(smollm2: Path, tmp_path: Path) -> None:
    """SmolLM2's own weights, dequantized: handed to transformers, and written as f32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from edgereason.export.sources.hugging_face import _COMMON

    made = export(smollm2, tmp_path / "out", "f32")
    names = {ours: theirs for theirs, ours in _COMMON.items()}
    with open_source(smollm2) as source:
        arch = source.architecture
        state = {"model.embed_tokens.weight": source.tensor("token_embd.weight")}
        state["model.norm.weight"] = source.tensor("output_norm.weight")
        for i in range(arch.num_layers):
            for ours in {name.split(".")[2] for name in source.names() if name.count(".") == 3}:
                theirs = f"model.layers.{i}.{names[ours]}.weight"
                state[theirs] = source.tensor(f"blk.{i}.{ours}.weight")
    config = LlamaConfig(
        vocab_size=arch.num_vocab,
        hidden_size=arch.num_embd,
        intermediate_size=arch.num_ff,
        num_hidden_layers=arch.num_layers,
        num_attention_heads=arch.num_heads,
        num_key_value_heads=arch.num_kv_heads,
        max_position_embeddings=arch.context,
        rms_norm_eps=arch.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": arch.rope_theta},
        tie_word_embeddings=True,
    )
    torch.set_num_threads(1)
    model = LlamaForCausalLM(config).eval()
    tensors = {name: torch.from_numpy(weight) for name, weight in state.items()}
    left = model.load_state_dict(tensors, strict=False)
    assert left.missing_keys == ["lm_head.weight"]
    assert not left.unexpected_keys
    model.tie_weights()
    tokens, logits = decoded(made.bundle)
    for sequence, found in zip(tokens, logits, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([sequence[:-1]])).logits[0].numpy()
        assert expected[-STEPS - 1 :].argmax(-1).tolist() == sequence[-STEPS - 1 :]
        largest = float(np.abs(np.stack(found) - expected).max())
        print(f"smollm2-135m: largest logit difference {largest:.2g}")
        assert largest < 0.01

"""A folder as Hugging Face's `transformers` saves it: config.json, safetensors, tokenizer.

Read without torch and transformers; nothing in the folder is run, and pickles are never opened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason import files
from edgereason.errors import (
    BundleError,
    DownloadError,
    EdgereasonError,
    ModelNotFoundError,
    UnsupportedError,
    UsageError,
)
from edgereason.models.hf_tokenizer import read_vocabulary
from edgereason.models.prefix_file import bundled
from edgereason.models.safetensors import Stored, check_dtype, read_table
from edgereason.models.variants import Variant, read_variant

from .base import Architecture, Source, pickled
from .hf_config import architecture_of
from .tensors import check_tensors

CONFIG: Final = "config.json"
_INDEX: Final = "model.safetensors.index.json"
_ONE: Final = "model.safetensors"
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_WANTED: Final = ("*.safetensors", "*.json", "*.jinja", "README.md")

# Names inside a layer, without `.weight` and `.bias`: theirs -> ours.
_COMMON: Final = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_GEMMA3: Final = _COMMON | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_GPT2: Final = {
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_OUTSIDE: Final = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
}
_NAME: Final = re.compile(
    r"(?:model\.|transformer\.)?(?:(?:layers|h)\.(\d+)\.)?([\w.]+)\.(weight|bias)"
)
# Tables that old versions saved beside the weights; they follow from the config.
_DERIVED: Final = re.compile(r"\.(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)$")


class HuggingFaceSource(Source):
    """One folder."""

    def __init__(self, folder: Path, name: str = "") -> None:
        config = read_json(folder / CONFIG)
        stored = stored_tensors(folder)
        self.architecture = arch = architecture_of(config, _is_tied(config))
        self._stored = _by_our_names(arch, stored, folder.name)
        for ours, tensor in self._stored.items():
            check_dtype(tensor, ours)
        check_tensors(arch, {name: self.shape(name) for name in self._stored}, folder.name)
        about = _about(folder / "README.md")
        self.path = folder
        self.name = name.rpartition("/")[2] or folder.resolve().name
        self.licence = about.get("license", "")
        self.base_model = name or about.get("base_model", "")
        self.quantization = next(iter(self._stored.values())).dtype
        self.vocabulary = read_vocabulary(folder, config, arch.num_vocab)
        self.variant = _variant(config)
        self.prefixes = tuple(bundled(folder).values())

    def names(self) -> tuple[str, ...]:
        return tuple(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self._stored[name].shape
        return shape[::-1] if self._is_transposed(name) else shape

    def files(self) -> tuple[Path, ...]:
        weights = {tensor.path for tensor in self._stored.values()}
        texts = {*self.path.glob("*.json"), *self.path.glob("*.jinja")}
        return tuple(sorted(weights | texts))

    def _read_tensor(self, name: str) -> NDArray[np.float32]:
        read = self._stored[name].read()
        if self._is_transposed(name):
            return np.ascontiguousarray(read.T)
        if self.architecture.name == "gemma3" and name.endswith("norm.weight"):
            read += 1  # it multiplies by 1 + weight
        return read

    @cached_property
    def base_hash(self) -> str:
        """Of the tensors under our names: neither shards nor texts beside them change it."""
        digest = hashlib.sha256()
        for name in sorted(self._stored):
            stored = self._stored[name]
            digest.update(f"{name} {stored.dtype} {list(stored.shape)}\n".encode())
            digest.update(stored.raw())
        return digest.hexdigest()

    def close(self) -> None:
        """Files are open only while a tensor is read."""

    def _is_transposed(self, name: str) -> bool:
        """GPT-2's linear layers are stored [in, out]."""
        inside = name.startswith("blk.") and name.endswith(".weight") and "norm" not in name
        return self.architecture.name == "gpt2" and inside


def fetch(repo: str) -> Path:
    """The folder of a repository of the hub, fetched into Hugging Face's own cache."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import RepositoryNotFoundError
    except ImportError:
        raise DownloadError(
            f"{repo} comes through huggingface_hub, which is not installed",
            "pip install 'edgereason[hub]'",
        ) from None
    try:
        # Weights of other frameworks and in folders of their own are left where they are.
        return Path(
            huggingface_hub.snapshot_download(
                repo, allow_patterns=list(_WANTED), ignore_patterns=["*/*", "consolidated*"]
            )
        )
    except RepositoryNotFoundError:
        raise ModelNotFoundError(
            f"Hugging Face has no repository {repo}, or it is not for everyone",
            "check the name; a private or gated one needs HF_TOKEN",
        ) from None
    except EdgereasonError:
        raise
    except Exception as error:  # the library has dozens, and its HTTP client has others
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DownloadError(f"cannot fetch {repo}: {error}", "check the network") from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        return files.read_json(path)
    except FileNotFoundError:
        raise ModelNotFoundError(
            f"{path.parent} is no model: it has no {path.name}",
            "give a folder with config.json and safetensors, a bundle, or a .gguf",
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {path}: {error}") from None


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """All tensors of the folder, of one file or of all that the index names."""
    if (folder / _INDEX).is_file():
        return _sharded(folder)
    if (folder / _ONE).is_file():
        return read_table(folder / _ONE)
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise pickled(pickles[0])
    raise BundleError(f"{folder.name} has no {_ONE}", "a file of it is missing; fetch it again")


def _sharded(folder: Path) -> dict[str, Stored]:
    places = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise BundleError(f"{_INDEX} does not say where tensors are", "fetch it again")
    tables = {}
    for shard in sorted(set(map(str, places.values()))):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise BundleError(f"{_INDEX} names a file outside its folder: {shard!r}")
        if not (folder / shard).is_file():
            raise BundleError(f"{folder.name} is incomplete: {shard} is missing", "fetch it again")
        tables[shard] = read_table(folder / shard)
    for name, shard in places.items():
        if name not in tables[shard]:
            raise BundleError(f"{shard} lacks {name}, which the index promises", "fetch it again")
    return {name: tables[shard][name] for name, shard in places.items()}


def _variant(config: Mapping[str, Any]) -> Variant | None:
    ours = config.get("edgereason", {})
    if not isinstance(ours, dict):
        raise BundleError(f"config.json says edgereason is {ours!r}, expected an object")
    try:
        return read_variant(ours.get("variant"))
    except UsageError as error:
        raise BundleError(f"config.json: {error.message}", error.hint) from None


def _is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the head is the embedding. Some files hold it twice; some configs say nothing."""
    by_default = config.get("model_type") in ("gpt2", "gemma3_text", "smollm3")
    return bool(config.get("tie_word_embeddings", by_default))


def _by_our_names(
    arch: Architecture, stored: Mapping[str, Stored], where: str
) -> dict[str, Stored]:
    inside = {"gpt2": _GPT2, "gemma3": _GEMMA3}.get(arch.name, _COMMON)
    found, strange = {}, []
    for name, tensor in stored.items():
        if _DERIVED.search(name) or (arch.tied and name == "lm_head.weight"):
            continue
        match = _NAME.fullmatch(name)
        ours = (inside if match and match[1] else _OUTSIDE).get(match[2]) if match else None
        if match is None or ours is None:
            strange.append(name)
            continue
        found[(f"blk.{match[1]}." if match[1] else "") + f"{ours}.{match[3]}"] = tensor
    if strange:
        raise UnsupportedError(
            f"{where} has tensors that {arch.name} models do not have: "
            + ", ".join(sorted(strange)[:3]),
            "only plain language models can be exported",
        )
    return found


def _about(readme: Path) -> dict[str, str]:
    """Plain values at the head of a model card."""
    try:
        text = files.read_bytes(readme).decode("utf-8", errors="replace")
    except OSError:
        return {}
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    pairs = re.findall(r"^(license|base_model): *([^\s\[#]+) *$", head[1] if head else "", re.M)
    return {key: value.strip("'\"") for key, value in pairs}

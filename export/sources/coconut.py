"""A checkpoint of the reference Coconut code: a torch state dict, `base_causallm.*` and a second
copy of the embedding, with three tokens more than its base.

    with CoconutSource(Path("checkpoint_33"), base=Path("gpt2")) as source: ...

Read with `weights_only`, so that nothing in the file is run. What is missing in it (config,
tokenizer) comes from the folder of the base; both become a Hugging Face folder while it is read.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models.variants.coconut import Variant

from .hugging_face import CONFIG, HuggingFaceSource, read_json

TOKENS: Final = ("<|start-latent|>", "<|end-latent|>", "<|latent|>")  # in the order of their ids
_INSIDE: Final = "base_causallm."
_COPY: Final = "embedding."
_HEAD: Final = "lm_head.weight"
_EMBEDDINGS: Final = ("transformer.wte.weight", "model.embed_tokens.weight")
# A question and a line break; the answer follows "### ".
_TEMPLATE: Final = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
_MARK: Final = "###"
_TEXTS: Final = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


class CoconutSource(HuggingFaceSource):
    """The checkpoint on its base."""

    def __init__(self, checkpoint: Path, base: Path) -> None:
        self._given = (checkpoint, *sorted(base.glob("*.json")))
        self._folder = TemporaryDirectory(prefix="edgereason-")
        try:
            _write_folder(checkpoint, base, Path(self._folder.name))
            super().__init__(Path(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise
        self.path = checkpoint
        self.name = checkpoint.stem
        self.base_model = base.resolve().name

    def files(self) -> tuple[Path, ...]:
        return self._given

    def close(self) -> None:
        self._folder.cleanup()


def _write_folder(checkpoint: Path, base: Path, out: Path) -> None:
    if not base.is_dir():
        raise ModelNotFoundError(
            f"no such folder: {base}", "--base is a Hugging Face folder, e.g. of gpt2"
        )
    config = read_json(base / CONFIG)
    tensors = _read(checkpoint)
    rows = _num_rows(tensors)
    if config.get("vocab_size") != rows - len(TOKENS):
        raise BundleError(
            f"{checkpoint.name} has {rows} tokens, {base.name} {config.get('vocab_size')}: "
            f"expected {len(TOKENS)} more",
            "give the folder of the model it was trained from",
        )
    ours = config.get("edgereason") or {"variant": asdict(Variant(mark=_MARK))}
    told = {**config, "vocab_size": rows, "edgereason": ours}
    _write_json(out / CONFIG, told)
    _write_tokenizer(base, rows, out)
    from safetensors.torch import save_file

    save_file(tensors, out / "model.safetensors")


def _read(checkpoint: Path) -> dict[str, Any]:
    """Its tensors under the names of the base."""
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError(
            "reading a torch checkpoint needs the package torch, which is not installed",
            "pip install 'edgereason[recipes]'",
        ) from None
    no_checkpoint = f"{checkpoint.name} is no Coconut checkpoint"
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelNotFoundError(f"no such file: {checkpoint}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        raise BundleError(f"{no_checkpoint}: {why}", "give a state dict of tensors") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise BundleError(f"{no_checkpoint}: it holds no state dict")
    tensors, strange = {}, []
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            strange.append(name)
        elif name.startswith(_INSIDE):
            tensors[name.removeprefix(_INSIDE)] = tensor
        elif not name.startswith(_COPY):
            strange.append(name)
    if strange or not tensors:
        named = f"{sorted(strange)[0]!r}" if strange else "nothing"
        raise BundleError(
            f"{no_checkpoint}: it has {named} beside {_INSIDE}*",
            "a model that was saved by itself needs no --base",
        )
    return _without_copies(tensors, no_checkpoint)


def _without_copies(tensors: dict[str, Any], no_checkpoint: str) -> dict[str, Any]:
    """Tied weights are one tensor; what is left may not share memory."""
    embedding = next((tensors[name] for name in _EMBEDDINGS if name in tensors), None)
    if embedding is None or embedding.ndim != 2:
        raise BundleError(f"{no_checkpoint}: it has no {_INSIDE}{_EMBEDDINGS[0]}")
    head = tensors.get(_HEAD)
    if _EMBEDDINGS[0] in tensors and head is not None:
        if head.shape != embedding.shape or not bool((head == embedding).all()):
            raise UnsupportedError(
                "the language head of GPT-2 must be its embedding, here it is not"
            )
        del tensors[_HEAD]
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def _num_rows(tensors: dict[str, Any]) -> int:
    return next(int(tensors[name].shape[0]) for name in _EMBEDDINGS if name in tensors)


def _write_tokenizer(base: Path, rows: int, out: Path) -> None:
    written = read_json(base / "tokenizer.json")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": rows - len(TOKENS) + i, "content": text, **flags, "special": True}
        for i, text in enumerate(TOKENS)
    ]
    listed = [*(written.get("added_tokens") or ()), *added]
    _write_json(out / "tokenizer.json", {**written, "added_tokens": listed})
    for name in _TEXTS:
        if (base / name).is_file():
            _write_json(out / name, read_json(base / name))
    (out / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")

"""Tiny models of every architecture we export, saved as Hugging Face folders.

Random weights of a size that tells tokens apart, and a byte-level (gemma3: byte-fallback) tokenizer
trained on a page of text: what a real one has, without a download. Needs torch and transformers;
call `pytest.importorskip` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from support.gguf_files import CHATML

LAYERS: Final = 2
EMBD: Final = 64
HEADS: Final = 4
KV_HEADS: Final = 2
FEED_FORWARD: Final = 128
CONTEXT: Final = 256
WINDOW: Final = 8
ROWS: Final = 448  # of the embedding: more than the tokenizer has, as makers pad them

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
DEFINED: Final = ("<think>", "</think>")

_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT: Final = (
    "The robot thinks before it answers. Three times seventeen is fifty one, and one more makes "
    "fifty two. First it reads the question, then it counts, and then it says what it found.\n"
    "If the answer is not there in time, it says what it knows so far: that is better than "
    "nothing.\n\nBäume, Größe, naïve café; 12 + 30 = 42. The thinking is the thing.\n"
) * 3


def _standard(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": ROWS,
        "hidden_size": EMBD,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "attn_implementation": "eager",
        **more,
    }


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_standard(tie_word_embeddings=True)))


def _llama3() -> Any:
    """With Llama 3's scaled positions, and a language head of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    scaled = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    return LlamaForCausalLM(LlamaConfig(**_standard(rope_parameters=scaled)))


def _qwen2() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**_standard(tie_word_embeddings=False)))


def _qwen3() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**_standard(head_dim=32, tie_word_embeddings=True)))


def _smollm3() -> Any:
    """Twice as many layers: the fourth has no positions."""
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    return SmolLM3ForCausalLM(SmolLM3Config(**_standard() | {"num_hidden_layers": 2 * LAYERS}))


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=ROWS,
        n_positions=CONTEXT,
        n_embd=EMBD,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config)


def _gemma3() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        **_standard(
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
            bos_token_id=2,
            eos_token_id=1,
        )
    )
    return Gemma3ForCausalLM(config)


KINDS: Final[Mapping[str, Callable[[], Any]]] = {
    "llama": _llama,
    "llama3": _llama3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gpt2": _gpt2,
    "gemma3": _gemma3,
    "smollm3": _smollm3,
}
"""Kind -> a model in float32; all but `llama3` are named after their architecture."""

TEXTS: Final = (
    "The robot thinks",
    "Three times seventeen is fifty one, and one more makes",
    "12 + 30 = 42.\n\nBäume",
)


def build_model(kind: str) -> Any:
    """The model of a kind; always the same weights. In eval mode, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = KINDS[kind]()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                fan_in = weight.shape[0] if ".c_" in name else weight.shape[-1]
                weight.normal_(std=1.5 * fan_in**-0.5)
            elif name.endswith("bias"):
                weight.normal_(std=0.2)
            else:
                weight.copy_((0.0 if kind == "gemma3" else 1.0) + 0.2 * torch.randn(weight.shape))
    model.tie_weights()
    return model.eval()


def save_model(folder: Path, kind: str, dtype: str = "float32", template: str = CHATML) -> Path:
    """Saves model and tokenizer as `save_pretrained` does."""
    import torch

    build_model(kind).to(getattr(torch, dtype)).save_pretrained(folder)
    save_tokenizer(folder, kind, template)
    return folder


def save_tokenizer(folder: Path, kind: str, template: str = CHATML, num_tokens: int = 400) -> None:
    """`tokenizer.json`, `tokenizer_config.json` and, unless "", a chat template."""
    tokenizer = _byte_fallback() if kind == "gemma3" else _byte_level(kind, num_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    bos, eos = ("<bos>", "<eos>") if kind == "gemma3" else SPECIAL[1:]
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"bos_token": bos, "eos_token": eos, "add_bos_token": kind == "gemma3"}
    if kind == "gpt2":
        settings |= {"bos_token": SPECIAL[0], "eos_token": SPECIAL[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _byte_level(kind: str, num_tokens: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, trainers
    from tokenizers import pre_tokenizers as pre

    tokenizer = Tokenizer(models.BPE(ignore_merges=kind in ("llama3", "smollm3")))
    split = {
        "llama3": _WORDS % "{1,3}",
        "smollm3": _WORDS % "{1,3}",
        "qwen2": _WORDS % "",
        "qwen3": _WORDS % "",
    }.get(kind)
    if split:
        cut = pre.Split(Regex(split), "isolated")
        tokenizer.pre_tokenizer = pre.Sequence([cut, pre.ByteLevel(False, use_regex=False)])
    elif kind == "llama":  # as SmolLM2's
        tokenizer.pre_tokenizer = pre.Sequence(
            [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
        )
    else:
        tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    if kind.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT], trainer)
    tokenizer.add_tokens(list(DEFINED))
    return tokenizer


def _byte_fallback() -> Any:
    """Gemma's: pieces of SentencePiece kind with `▁` for a blank, and a token for each byte."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
    from tokenizers import pre_tokenizers as pre

    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "\u2581")
    learner.pre_tokenizer = pre.Split(" ", "merged_with_previous")
    learner.train_from_iterator(
        _TEXT.splitlines(), trainers.BpeTrainer(vocab_size=150, show_progress=False)
    )
    learned = json.loads(learner.to_str())["model"]
    special = ("<pad>", "<eos>", "<bos>", "<unk>", *SPECIAL[1:])
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[tuple(merge) for merge in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (*DEFINED, "\n\n")])
    return tokenizer

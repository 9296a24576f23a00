"""Tokenizer and chat template: byte-level BPE, digits one by one, the words of the tasks whole.

Written as Hugging Face files. The split is GPT-2's after isolating digits, which llama.cpp calls
`smollm`, so both cut every text alike. Learned from a word list: no corpus, the same every time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from edgereason.bench.tasks.reach import PERSONS, SPECIES

END: Final = "<|endoftext|>"
CONTROL: Final = (
    END,
    *("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    *("<|start-latent|>", "<|latent|>", "<|end-latent|>"),
)
MARKS: Final = ("<summary>", "</summary>", "<history>", "</history>")  # ordinary text, one token
NUM_VOCAB: Final = 576  # what the words need, and some control tokens in reserve

_WORDS: Final = """
system user assistant What is are Every Is a an or and apply x mod times
I will answer the question within tokens Final Wait Okay think have finished thinking make concise
The So Then"""
_SYMBOLS: Final = ("->", "\n\n", "...")
PHRASES: Final = (". Every ", "Every ", " is a ", ". Is ", " a ", " or ", ". ")  # of `reach`

TEMPLATE: Final = (
    "{%- for message in messages %}"
    "{%- set text = message.content %}"
    "{%- if message.role == 'assistant' and '</think>' in text %}"
    "{%- set text = text.split('</think>')[-1].lstrip('\\n') %}"
    "{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}"
    "{%- endif %}"
)


def build() -> Tokenizer:
    """Learns the merges: every word of the list becomes one token, with and without a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_VOCAB,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(text, normalized=False) for text in (*CONTROL, *MARKS)],
        show_progress=False,
    )
    words = sorted({*_WORDS.split(), *PERSONS, *SPECIES})
    texts = [form for word in words for form in (f" {word}", word)] + list(_SYMBOLS)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in PHRASES])
    spare = range(NUM_VOCAB - tokenizer.get_vocab_size())
    tokenizer.add_special_tokens([AddedToken(f"<|reserved-{i}|>", special=True) for i in spare])
    written = json.loads(tokenizer.to_str())
    for token in written["added_tokens"]:  # the trainer makes control tokens of all it is given
        token["special"] = token["special"] and token["content"] not in MARKS
    plain: Tokenizer = Tokenizer.from_str(json.dumps(written))
    return plain


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Hugging Face's four files: tokenizer, settings, special tokens, chat template."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": "<|im_end|>",
        "pad_token": END,
        "add_bos_token": False,
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    tokens = {name: settings[name] for name in ("bos_token", "eos_token", "pad_token")}
    for name, content in (("tokenizer_config", settings), ("special_tokens_map", tokens)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")

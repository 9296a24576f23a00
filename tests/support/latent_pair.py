"""A Coconut bundle in any form, and the same random weights in torch: what an engine says is held
against a loop by hand. Needs torch and transformers; call `pytest.importorskip` first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from edgereason.export.job import Job, export
from edgereason.runtime.reasoner import Reasoner
from support import hf_models, trt_twin

LATENTS: Final = 6
START, END = "<think>", "</think>"
QUESTIONS = ("The robot thinks", "Three times seventeen is", "12 + 30 =", "naïve café")


@dataclass(frozen=True)
class Form:
    """How the bundle is written and opened. llama.cpp and TensorRT's graphs round to float16 on the
    way, and a random model blows up what differs, step by step: `tolerance` is in logits."""

    target: str
    options: Mapping[str, Any]
    tolerance: float
    dtype: str = "float16"  # of the weights that are exported
    opened: Mapping[str, Any] = field(default_factory=lambda: {"threads": 1})


FORMS: Final = {
    "gguf": Form("gguf", {"quant": "f16"}, 0.2),
    "onnx": Form("onnx", {"quant": "f32"}, 1e-3, "float32"),
    "tensorrt-A": Form("tensorrt", {"graph_only": True, "form": "A"}, 0.2, opened={}),
    "tensorrt-B": Form("tensorrt", {"graph_only": True, "form": "B"}, 0.2, opened={}),
}

KV = tuple[Any, Any]
"""Keys and values, numpy [layers, kv_heads, num_positions, head_dim]."""


@dataclass(frozen=True)
class Pair:
    """An open bundle, and the same weights in torch."""

    path: Path
    form: Form
    reasoner: Reasoner
    model: Any
    prefixes: Mapping[str, KV] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        return self.form.tolerance

    def open(self, **options: Any) -> Reasoner:
        return Reasoner.open(str(self.path), **{**self.form.opened, **options})

    def ids(self, text: str) -> list[int]:
        return self.reasoner.engine.tokenize(text, parse_control=True)

    def prompt(self, question: str, *, latent: bool = True) -> list[int]:
        """Up to where a latent thought, or an answer without one, begins."""
        thinking = None if latent else False
        tokens = list(self.reasoner.prompt_tokens(question, thinking=thinking))
        return tokens + (self.ids(START) if latent else [])

    def rows(self, tokens: Sequence[int]) -> Any:
        return self.model.get_input_embeddings()(torch.tensor([list(tokens)]))

    def run(self, rows: Any, prefix: str = "") -> tuple[Any, Any]:
        """Logits and state of the last row."""
        cache = transformers.DynamicCache()
        keys, values = self.prefixes.get(prefix, ((), ()))
        for i, (key, value) in enumerate(zip(keys, values, strict=True)):
            cache.update(torch.from_numpy(key)[None], torch.from_numpy(value)[None], i)
        out = self.model(
            inputs_embeds=rows,
            past_key_values=cache,
            attention_mask=torch.ones(1, cache.get_seq_length() + rows.shape[1]),
            output_hidden_states=True,
        )
        return out.logits[0, -1], out.hidden_states[-1][:, -1:]

    def falls_short(
        self,
        question: str,
        said: Sequence[int],
        latents: int | None = LATENTS,
        prefix: str = "",
    ) -> float:
        """By how much a token lies below the best of a loop by hand, at most. `latents` None: of
        an answer without thinking."""
        prompt = self.prompt(question, latent=latents is not None)
        end = [] if latents is None else self.ids(END)
        return self.shortfall(prompt, latents or 0, end, said, prefix)

    def shortfall(
        self,
        prompt: Sequence[int],
        latents: int,
        end: Sequence[int],
        said: Sequence[int],
        prefix: str = "",
    ) -> float:
        with torch.no_grad():
            rows = self.rows(prompt)
            for _ in range(latents):
                rows = torch.cat((rows, self.run(rows, prefix)[1]), dim=1)
            rows = torch.cat((rows, self.rows(end)), dim=1) if end else rows
            largest = 0.0
            for token in said:
                logits, _ = self.run(rows, prefix)
                largest = max(largest, float(logits.max() - logits[token]))
                rows = torch.cat((rows, self.rows([token])), dim=1)
        return largest


@contextmanager
def open_pair(name: str, kind: str, tmp: Path, context: int = 0) -> Iterator[Pair]:
    """A model of `kind` (hf_models) in the form `name`. `context`: what it says it was trained
    for."""
    form = FORMS[name]
    folder = hf_models.save_model(tmp / "hf", kind, dtype=form.dtype)
    config = json.loads((folder / "config.json").read_text())
    variant = {"kind": "coconut", "latents": LATENTS, "start": START, "end": END, "mark": ""}
    config["edgereason"] = {"variant": variant}
    if context:
        config["max_position_embeddings"] = context
    (folder / "config.json").write_text(json.dumps(config))
    export(folder, Job(form.target, tmp / "out", form.options))
    model = hf_models.build_model(kind)
    if form.dtype == "float16":
        model = model.half().float()  # the weights as they were saved
    with (
        trt_twin.in_its_place(),
        Reasoner.open(str(tmp / "out"), **form.opened) as reasoner,
    ):
        yield Pair(tmp / "out", form, reasoner, model)


def tokens_of(handle: Any) -> list[int]:
    handle.result(60)
    return list(handle.chains[0][-1].tokens)

"""onnxruntime-genai on a graph of ours: the same file of weights, the same nodes, its loop.

Its graphs are told lengths by an attention mask; a few nodes around our inputs and outputs do that,
for one sequence. Text and templates stay outside.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgereason.errors import UsageError


def wrap(folder: Path, out: Path, *, threads: int, spin: bool, context: int) -> None:
    """Writes the graph and a `genai_config.json` into the empty folder `out`."""
    import onnx

    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    shapes = {
        port.name: [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    }
    _, heads, _, width = shapes["past_key_values.0.key"]
    num_embd, num_vocab = shapes["inputs_embeds"][2], shapes["logits"][1]
    _surround(model.graph, num_embd, num_vocab)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    os.link(folder / "model.onnx.data", out / "model.onnx.data")
    config = _config(
        layers=sum(name.startswith("past_key") and name.endswith(".key") for name in shapes),
        heads=heads,
        width=width,
        sizes=(num_embd, num_vocab, context),
    )
    config["model"]["decoder"]["session_options"] = {
        "intra_op_num_threads": threads,
        "session.intra_op.allow_spinning": str(int(spin)),
        "log_severity_level": 4,
        "provider_options": [],
    }
    (out / "genai_config.json").write_text(json.dumps(config, indent=2))


def _surround(graph: Any, num_embd: int, num_vocab: int) -> None:
    """Token ids and a mask in, the logits of the last row out."""
    from onnx import TensorProto, helper, numpy_helper

    for name, value in (
        ("w.one", np.ones(1, np.int64)),
        ("w.zero", np.zeros((1, 1, num_embd), np.float32)),
        ("w.shape", np.array([1, 1, num_vocab])),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
    before = [
        helper.make_node("Shape", ["input_ids"], ["w.length"], start=1, end=2),
        helper.make_node("Shape", ["attention_mask"], ["w.total"], start=1, end=2),
        helper.make_node("Sub", ["w.total", "w.length"], ["w.past"]),
        helper.make_node("Cast", ["w.past"], ["past_lengths"], to=TensorProto.INT32),
        helper.make_node("Sub", ["w.length", "w.one"], ["output_rows"]),
        helper.make_node("Identity", ["w.zero"], ["inputs_embeds"]),
    ]
    for node in graph.node:
        node.output[:] = ["w.logits" if name == "logits" else name for name in node.output]
    after = helper.make_node("Reshape", ["w.logits", "w.shape"], ["logits"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "total"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, num_vocab])
    inputs = [p for p in graph.input if p.name == "input_ids" or p.name.startswith("past_key")]
    outputs = [p for p in graph.output if p.name.startswith("present.")]
    for items, new in (
        (graph.node, [*before, *graph.node, after]),
        (graph.input, [*inputs, mask]),
        (graph.output, [logits, *outputs]),
    ):
        del items[:]
        items.extend(new)


def _config(*, layers: int, heads: int, width: int, sizes: tuple[int, int, int]) -> dict[str, Any]:
    """`sizes`: of an embedding, the vocabulary and the context."""
    num_embd, num_vocab, context = sizes
    return {
        "model": {
            "type": "llama",
            "bos_token_id": 1,
            "eos_token_id": num_vocab - 1,
            "pad_token_id": 0,
            "context_length": context,
            "vocab_size": num_vocab,
            "decoder": {
                "filename": "model.onnx",
                "head_size": width,
                "hidden_size": num_embd,
                "num_attention_heads": num_embd // width,
                "num_key_value_heads": heads,
                "num_hidden_layers": layers,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {"max_length": context, "past_present_share_buffer": True, "do_sample": False},
    }


class Genai:
    """A model open in onnxruntime-genai."""

    def __init__(self, folder: Path, *, context: int) -> None:
        try:
            import onnxruntime_genai
        except ImportError:
            raise UsageError(
                "onnxruntime-genai is not installed", "pip install onnxruntime-genai"
            ) from None
        self._lib = onnxruntime_genai
        self._model = onnxruntime_genai.Model(str(folder))
        self._context = context

    def prompt_and_decode(
        self, tokens: Sequence[int], num_decode: int
    ) -> tuple[float, float, list[int]]:
        """Tokens per second of reading and of writing greedily, and what was written."""
        params = self._lib.GeneratorParams(self._model)
        params.set_search_options(max_length=self._context, do_sample=False)
        generator = self._lib.Generator(self._model, params)
        begin = time.perf_counter()
        generator.append_tokens(np.asarray(tokens, np.int32))
        generator.generate_next_token()  # samples from the prompt's logits: no run of the graph
        read = time.perf_counter()
        for _ in range(num_decode):
            generator.generate_next_token()
        end = time.perf_counter()
        written = generator.get_sequence(0)[len(tokens) :].tolist()
        return len(tokens) / (read - begin), num_decode / (end - read), written

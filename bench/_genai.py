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
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    graph = model.graph
    kept = {port.name: port for port in graph.input}
    layers = sum(name.endswith(".key") for name in kept)
    heads, width = (kept["past_key_values.0.key"].type.tensor_type.shape.dim[i] for i in (1, 3))
    num_embd = kept["inputs_embeds"].type.tensor_type.shape.dim[2].dim_value
    given = {port.name: port for port in graph.output}
    num_vocab = given["logits"].type.tensor_type.shape.dim[1].dim_value

    def constant(name: str, value: Any, dtype: type) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    one = constant("w.one", [1], np.int64)
    zero = constant("w.zero", np.zeros((1, 1, num_embd)), np.float32)
    shape = constant("w.shape", [1, 1, num_vocab], np.int64)
    before = [
        helper.make_node("Shape", ["input_ids"], ["w.length"], start=1, end=2),
        helper.make_node("Shape", ["attention_mask"], ["w.total"], start=1, end=2),
        helper.make_node("Sub", ["w.total", "w.length"], ["w.past"]),
        helper.make_node("Cast", ["w.past"], ["past_lengths"], to=TensorProto.INT32),
        helper.make_node("Sub", ["w.length", one], ["output_rows"]),
        helper.make_node("Identity", [zero], ["inputs_embeds"]),
    ]
    renamed = "w.logits"
    for node in graph.node:
        node.output[:] = [renamed if name == "logits" else name for name in node.output]
    after = [helper.make_node("Reshape", [renamed, shape], ["logits"])]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    outputs = [port for name, port in given.items() if name.startswith("present.")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, num_vocab])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "total"])
    inputs = [kept["input_ids"], mask, *(p for n, p in kept.items() if n.startswith("past_key"))]
    for ports, new in ((graph.input, inputs), (graph.output, [logits, *outputs])):
        del ports[:]
        ports.extend(new)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    os.link(folder / "model.onnx.data", out / "model.onnx.data")
    config = _config(
        layers=layers,
        heads=heads.dim_value,
        width=width.dim_value,
        sizes=(num_embd, num_vocab, context),
    )
    config["model"]["decoder"]["session_options"] = {
        "intra_op_num_threads": threads,
        "session.intra_op.allow_spinning": str(int(spin)),
        "log_severity_level": 4,
        "provider_options": [],
    }
    (out / "genai_config.json").write_text(json.dumps(config, indent=2))


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

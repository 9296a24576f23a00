"""One turn of another tool's own loop on an ONNX folder that it wrote; a script of its own.

    OTHER_PYTHON onnx_runner.py optimum FOLDER THREADS NUM_NEW < tokens.json

Runs in that tool's environment, which needs not have edgereason. Prints one JSON object: rates, and
the greedy tokens behind the prompt. Knows nothing of text.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

Spent = tuple[float, float]
"""Seconds that passed, and those that all threads computed."""

Generate = Callable[[int], tuple[Spent, list[int]]]
"""So many tokens behind the prompt: what that took, and the tokens."""

NUM_PROMPTS = 5
"""Of which the median is taken; `foreign_onnx` does the same with ours."""


def optimum(folder: Path, threads: int, tokens: list[int], num_new: int) -> dict[str, object]:
    """`ORTModelForCausalLM.generate`, as its documents show it."""
    import torch
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForCausalLM

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = ORTModelForCausalLM.from_pretrained(folder, session_options=options)
    ids = torch.tensor([tokens])

    def generate(num: int) -> tuple[Spent, list[int]]:
        begun = _now()
        found = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=num,
            min_new_tokens=num,
            do_sample=False,
        )
        return _since(begun), found[0, len(tokens) :].tolist()

    return _measured(generate, len(tokens), num_new)


def genai(folder: Path, threads: int, tokens: list[int], num_new: int) -> dict[str, object]:
    """Its generator; how many threads it has, the folder says (see `given_threads`)."""
    import numpy as np
    import onnxruntime_genai as lib

    model = lib.Model(str(folder))

    def generate(num: int) -> tuple[Spent, list[int]]:
        params = lib.GeneratorParams(model)
        params.set_search_options(max_length=len(tokens) + num, min_length=len(tokens) + num)
        params.set_search_options(do_sample=False)
        begun = _now()
        generator = lib.Generator(model, params)
        generator.append_tokens(np.array([tokens], np.int32))
        for _ in range(num):
            generator.generate_next_token()
        spent = _since(begun)
        return spent, [int(token) for token in generator.get_sequence(0)[len(tokens) :]]

    return _measured(generate, len(tokens), num_new)


def _measured(generate: Generate, num_prompt: int, num_new: int) -> dict[str, object]:
    """Of its own process, warmed up. A prompt alone is timed several times: one may take a tenth
    longer than the next."""
    generate(2)
    prompts = [generate(1)[0] for _ in range(NUM_PROMPTS)]
    first = tuple(median(each) for each in zip(*prompts, strict=True))
    whole, new = generate(num_new)
    return {
        "prompt_tokens_per_s": num_prompt / first[0],
        "cpu_prompt_tokens_per_s": num_prompt / first[1],
        "decode_tokens_per_s": (len(new) - 1) / (whole[0] - first[0]),
        "cpu_tokens_per_s": (len(new) - 1) / (whole[1] - first[1]),
        "tokens": new,
    }


def given_threads(folder: Path, out: Path, threads: int) -> None:
    """A folder of links to one of genai's, whose configuration says how many threads of a CPU."""
    for path in folder.iterdir():
        if path.name != "genai_config.json":
            (out / path.name).symlink_to(path.absolute())
    config = json.loads((folder / "genai_config.json").read_text())
    options = config["model"]["decoder"].setdefault("session_options", {})
    options["intra_op_num_threads"] = threads
    options["session.intra_op.allow_spinning"] = "0"
    options["provider_options"] = []  # on the CPU, also what was written for CUDA
    (out / "genai_config.json").write_text(json.dumps(config))


def _now() -> Spent:
    return time.perf_counter(), time.process_time()


def _since(begun: Spent) -> Spent:
    wall, cpu = _now()
    return wall - begun[0], cpu - begun[1]


if __name__ == "__main__":
    what, where, num_threads, num_tokens = sys.argv[1:5]
    runner = {"optimum": optimum, "genai": genai}[what]
    print(json.dumps(runner(Path(where), int(num_threads), json.load(sys.stdin), int(num_tokens))))

"""Makes the ONNX folders of `tests/foreign`: tiny random models, exported by the tools of others.

Run in two environments, since optimum-onnx wants an older transformers than the builder takes:

    python tests/support/make_foreign_onnx.py models /tmp/tiny    # optimum-onnx 0.1.0, accelerate,
    python tests/support/make_foreign_onnx.py optimum /tmp/tiny   # transformers 4.57
    python tests/support/make_foreign_onnx.py builder /tmp/tiny   # onnxruntime-genai 0.18, both
    python tests/support/make_foreign_onnx.py logits /tmp/tiny    # with transformers 5

With `wide` behind the folder, models of about 60 M parameters in twelve layers, whose speed is
worth measuring (`edgereason bench foreign_onnx`); they stay in that folder.

`logits` writes what transformers says of each model, and onnxruntime-genai of those in 4 bits:
`llama.npz`, `llama-int4.npz`. Kept in the repository are
folders of less than 200 KB; the tests take all that are there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.hf_models import save_tokenizer

HERE: Final = Path(__file__).parents[1] / "foreign"
HEADS: Final = {"llama": (2, 2), "qwen2": (2, 1), "qwen3": (4, 2)}
"""Architecture -> heads, and KV heads: one for each, one for all, shared by two."""
WIDE: Final = {"llama": (9, 9), "qwen2": (9, 1), "qwen3": (9, 3)}
NUM_TOKENS: Final = 266
ROWS: Final = 272  # of the embedding
WIDE_ROWS: Final = 32000
PROMPT: Final = (7, 201, 42, 99, 250, 12, 12, 260, 5, 78)
NUM_NEW: Final = 12

_KEPT: Final = (
    "*.onnx",
    "*.onnx.data",
    "*.onnx_data",
    "config.json",
    "generation_config.json",
    "genai_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def make_models(folder: Path, wide: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    for kind, (heads, kv_heads) in (WIDE if wide else HEADS).items():
        torch.manual_seed(3)
        layers = 12 if wide else 1 if kind == "llama" else 2
        config = AutoConfig.for_model(
            kind,
            vocab_size=WIDE_ROWS if wide else ROWS,
            hidden_size=576 if wide else 32,
            intermediate_size=1536 if wide else 32,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=512 if wide else 128,
            rope_theta=10000.0,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            tie_word_embeddings=True,
            **({} if kind == "qwen2" else {"head_dim": 64 if wide else 16}),
        )
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(std=1.5 * weight.shape[-1] ** -0.5)
        model.save_pretrained(folder / kind)
        save_tokenizer(folder / kind, kind, num_tokens=NUM_TOKENS)


def run_optimum(folder: Path, wide: bool) -> None:
    """With the tool for `plain`; `merged`, two graphs under one `If` as versions before 2 wrote
    them, with its library."""
    for kind in HEADS:
        plain = folder / f"{kind}-optimum-plain"
        tool = [str(Path(sys.executable).parent / "optimum-cli"), "export", "onnx"]
        model = ["--model", str(folder / kind), "--task", "text-generation-with-past"]
        subprocess.run([*tool, *model, str(plain)], check=True)
        _keep(plain, wide)
        merged = folder / f"{kind}-optimum-merged"
        shutil.copytree(plain, merged, ignore=shutil.ignore_patterns("*.onnx"), dirs_exist_ok=True)
        _merge(folder / kind, merged)
        _keep(merged, wide)


def _merge(model_folder: Path, out: Path) -> None:
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    from optimum.onnx import merge_decoders
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder)
    make = TasksManager.get_exporter_config_constructor(
        "onnx", model, task="text-generation-with-past"
    )
    parts = []
    for name, takes_past in (("first", False), ("next", True)):
        config = make(model.config, use_past=True, use_past_in_inputs=takes_past)
        parts.append(out.parent / f"{out.name}-{name}.onnx")
        export(model, config, parts[-1])
    merge_decoders(*parts, save_path=out / "decoder_model_merged.onnx", strict=False)


def run_builder(folder: Path, wide: bool) -> None:
    for kind in HEADS:
        for precision, provider in (("fp16", "cuda"), ("int4", "cpu")):
            out = folder / f"{kind}-builder-{precision}"
            tool = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
            where = ["-i", str(folder / kind), "-o", str(out), "-c", str(folder / "cache")]
            subprocess.run([*tool, *where, "-p", precision, "-e", provider], check=True)
            _keep(out, wide)


def write_logits(folder: Path, wide: bool) -> None:
    if wide:
        sys.exit("of wide models no logits are kept: the bench compares tokens")
    for kind in HEADS:
        tokens, logits = greedy(folder / kind)
        np.savez_compressed(HERE / f"{kind}.npz", tokens=tokens, logits=logits)
        tokens, logits = greedy_of_genai(HERE / f"{kind}-builder-int4")
        np.savez_compressed(HERE / f"{kind}-int4.npz", tokens=tokens, logits=logits)


def greedy(model_folder: Path) -> tuple[Any, Any]:
    """Prompt and new tokens, and the logits after each but the last."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokens = list(PROMPT)
    with torch.no_grad():
        for _ in range(NUM_NEW):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        logits = model(torch.tensor([tokens[:-1]])).logits[0]
    return np.array(tokens), logits.numpy()


def greedy_of_genai(folder: Path) -> tuple[Any, Any]:
    """The same by onnxruntime-genai's own loop; a model of 4 bits is another one."""
    import onnxruntime_genai as genai

    params = genai.GeneratorParams(model := genai.Model(str(folder)))
    params.set_search_options(max_length=64, do_sample=False)
    generator = genai.Generator(model, params)
    tokens, rows = [], []
    while len(tokens) < len(PROMPT) + NUM_NEW:
        tokens.append(int(PROMPT[len(tokens)] if len(tokens) < len(PROMPT) else rows[-1].argmax()))
        generator.append_tokens(np.array([tokens[-1:]], np.int32))
        rows.append(np.array(generator.get_logits()).reshape(-1, ROWS)[-1])
    return np.array(tokens), np.array(rows[:-1])


def _keep(out: Path, wide: bool) -> None:
    """Copies what an engine needs."""
    if wide:
        return
    kept = HERE / out.name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for pattern in _KEPT:
        for path in out.glob(pattern):
            if "with_past" not in path.name and path.name != "decoder_model.onnx":
                shutil.copyfile(path, kept / path.name)


if __name__ == "__main__":
    what, where, is_wide = sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["wide"]
    {
        "models": make_models,
        "optimum": run_optimum,
        "builder": run_builder,
        "logits": write_logits,
    }[what](where, is_wide)

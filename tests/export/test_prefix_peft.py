"""PEFT's prefix-tuning adapters become prefixes: their numbers land where PEFT puts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models are made with it")
pytest.importorskip("transformers", reason="models are made with it")
pytest.importorskip("gguf", reason="reads with the extra `export`")
save_file = pytest.importorskip("safetensors.torch", reason="writes adapters").save_file

from edgereason.export.sources.open import open_source
from edgereason.models.prefix_file import read_prefix
from support.cli_runner import Cli
from support.hf_models import save_model

LAYERS, HEADS, POSITIONS, WIDTH = 2, 2, 3, 16


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama", "llama")


def save_adapter(folder: Path, tensors: dict[str, Any], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    told = {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": POSITIONS}
    told |= {"num_layers": LAYERS, "token_dim": HEADS * WIDTH, "base_model_name_or_path": "x"}
    (folder / "adapter_config.json").write_text(json.dumps({**told, **config}), "utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def rows() -> Any:
    return torch.randn(
        POSITIONS, 2 * LAYERS * HEADS * WIDTH, generator=torch.Generator().manual_seed(1)
    )


def test_lands_where_peft_puts_it(base: Path, tmp_path: Path, cli: Cli) -> None:
    """PEFT: view [batch, positions, 2 * layers, heads, width], permute to [2 * layers, batch,
    heads, positions, width], pairs of which are a layer's keys and values."""
    adapter = save_adapter(tmp_path / "adapter", {"prompt_embeddings": rows()})
    out = tmp_path / "p.safetensors"
    told = cli(
        "export", "prefix", str(adapter), "--base", str(base), "--out", str(out), "--json"
    ).json
    assert told["slots"] == POSITIONS
    made = read_prefix(out)
    with open_source(base) as source:
        assert made.base == source.base_hash
    layers = rows()[None].view(1, POSITIONS, 2 * LAYERS, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    for i in range(LAYERS):
        for found, wanted in ((made.keys[i], layers[2 * i]), (made.values[i], layers[2 * i + 1])):
            np.testing.assert_array_equal(found, wanted[0].half().float().numpy())


@pytest.fixture
def models(base: Path, tmp_path: Path) -> tuple[Path, Path]:
    return base, tmp_path


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [
        ({}, {"peft_type": "LORA"}, (2, "of kind 'LORA'")),
        ({}, {"task_type": "SEQ_2_SEQ_LM"}, (2, "was trained for 'SEQ_2_SEQ_LM'")),
        ({}, {"num_virtual_tokens": 4}, (3, "says 4 tokens")),
        ({}, {"num_layers": 3}, (3, "in 3 layers")),
        ({"prompt_embeddings": torch.zeros(POSITIONS, 5)}, {}, (3, "has 5 numbers")),
        ({"prompt_embeddings": torch.zeros(POSITIONS)}, {}, (3, "has shape (3,)")),
        ({"other": torch.zeros(3)}, {}, (3, "holds other")),
        ({"prompt_embeddings": torch.full((POSITIONS, 128), torch.nan)}, {}, (3, "float16 cannot")),
    ],
)
def test_unfit_adapters(
    models: tuple[Path, Path],
    cli: Cli,
    tensors: dict[str, Any],
    config: dict[str, Any],
    said: tuple[int, str],
) -> None:
    base, tmp_path = models
    adapter = save_adapter(tmp_path / "a", tensors or {"prompt_embeddings": rows()}, **config)
    out = tmp_path / "p.safetensors"
    ran = cli("export", "prefix", str(adapter), "--base", str(base), "--out", str(out))
    assert (ran.code, said[1] in ran.err) == (said[0], True), ran.err
    assert not out.exists()


def test_folders_that_are_none(base: Path, tmp_path: Path, cli: Cli) -> None:
    line = ("--base", str(base), "--out", str(tmp_path / "p.safetensors"))
    assert "is no adapter" in cli("export", "prefix", str(tmp_path), *line).err
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}', "utf-8")
    assert "has no adapter_model.safetensors" in cli("export", "prefix", str(tmp_path), *line).err
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    assert "is a pickle" in cli("export", "prefix", str(tmp_path), *line).err
    (tmp_path / "adapter_config.json").write_text("{", "utf-8")
    assert cli("export", "prefix", str(tmp_path), *line).code == 3

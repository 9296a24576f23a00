"""The other side of a comparison: a model of transformers in float32. Needs the extra `parity`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import UsageError
from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve

Floats = NDArray[np.float32]


class Torch:
    """A model of transformers in float32, always from scratch."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()

    def of(self, tokens: Sequence[int]) -> Floats:
        """Logits [tokens, num_vocab]."""
        import torch

        return self._run(input_ids=torch.tensor([list(tokens)]))[0]

    def embeddings(self, tokens: Sequence[int]) -> Floats:
        import torch

        table = self._model.get_input_embeddings()
        return np.asarray(table(torch.tensor(list(tokens))).detach().numpy(), np.float32)

    def of_embeddings(self, rows: Floats) -> tuple[Floats, Floats]:
        """Logits and last hidden states of rows [tokens, num_embd]."""
        import torch

        return self._run(inputs_embeds=torch.from_numpy(rows)[None])

    def _run(self, **inputs: Any) -> tuple[Floats, Floats]:
        import torch

        with torch.no_grad():
            out = self._model(**inputs, output_hidden_states=True, use_cache=False)
        return out.logits[0].numpy(), out.hidden_states[-1][0].numpy()


def in_torch(model: str) -> tuple[Path, Torch]:
    """A Hugging Face folder, or a GGUF as transformers reads it, with its model."""
    from transformers import AutoModelForCausalLM

    path = Path(model)
    told: dict[str, str] = {}
    if not (path / "config.json").is_file():
        path = model_file(open_bundle(resolve(model)))
        told = {"gguf_file": path.name}
    folder = path.parent if told else path
    return path, Torch(
        AutoModelForCausalLM.from_pretrained(
            folder, dtype="float32", attn_implementation="eager", **told
        )
    )


def require_torch() -> None:
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"this bench compares with {package}", "pip install 'edgereason[parity]'"
            )

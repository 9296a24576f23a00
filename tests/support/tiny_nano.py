"""A nano model of a few thousand parameters, its words, and the recipes' commands. Needs torch and
tokenizers; call `pytest.importorskip` first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import torch
from typer.testing import CliRunner

from edgereason.training.nano import __main__ as commands
from edgereason.training.nano import tokenizer as vocabulary
from edgereason.training.nano.model import Shape

TINY: Final = Shape(num_embd=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, num_ff=64)
WORDS: Final = vocabulary.build()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For modules that import it: what torch draws and adds up is the same in every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def run(*args: str) -> str:
    """`python -m edgereason.training.nano ...`"""
    result = CliRunner().invoke(commands.app, [*args])
    assert result.exit_code == 0, result.output
    return result.output

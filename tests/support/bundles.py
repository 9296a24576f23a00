"""Bundles of nothing but a chat template."""

from __future__ import annotations

from pathlib import Path

from edgereason.models.bundle import Bundle, File
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.reasoning import Reasoning


def bundle_of(template: str, reasoning: Reasoning | None = None) -> Bundle:
    return Bundle(
        path=Path("tiny.gguf"),
        name="tiny",
        engine="llamacpp",
        files=(File("tiny.gguf", 1),),
        chat_template=template,
        control_tokens=("<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>"),
        reasoning=reasoning or detect_reasoning(template),
    )

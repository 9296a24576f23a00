"""A scripted model that calls tools, as a bundle in a folder: it thinks, calls, and answers from
what comes back.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from support.tool_templates import HERMES

WEATHER: Final = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
CLOCK: Final = {"name": "clock", "description": "The time.", "parameters": {"type": "object"}}

ASKED: Final = "How is the weather in Rome?"
THOUGHT: Final = "I must look."
ANSWER: Final = "It is sunny."

_END: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n"
_ROME: Final = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
)
_CLOCK: Final = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'

_WEATHER: Final = '<tool_call>\n{"name": "weather", "arguments":'
_OSLO: Final = ' {"city": "Oslo"}}\n</tool_call>'

RULES: Final = [
    ("</think>", "\n\nI cannot say."),
    (f"{ASKED}{_END}", f"{THOUGHT}\n</think>"),
    (f"{THOUGHT}\n</think>", f"\n\nOne moment.\n{_ROME}"),
    (f"Rome and the time?{_END}", "Both.\n</think>"),
    ("Both.\n</think>", f"\n\n{_ROME}\n{_CLOCK}"),
    (f"Call early.{_END}", f"Early {_CLOCK}"),
    (f"Call badly.{_END}", "Badly.\n</think>"),
    ("Badly.\n</think>", '\n\n<tool_call>\n{"name": "nobody", "arguments": {}}\n</tool_call>'),
    (f"sunny</tool_response>{_END}", "It came back.\n</think>"),
    ("It came back.\n</think>", f"\n\n{ANSWER}"),
    (f"Say.{_END}", "Forced.\n</think>"),
    ("Say.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" + _WEATHER, _OSLO),
    ("Forced.\n</think>" + _WEATHER, _OSLO),
    (f"Misuse.{_END}", "Misused.\n</think>"),
    ("Misused.\n</think>" + _WEATHER, ' {"days": "many", "place": 5}}\n</tool_call>'),
    ('Misused.\n</think><tool_call>\n{"name": "', 'nobody", "arguments": [1]}\n</tool_call>'),
    ('Forced.\n</think><tool_call>\n{"name": "', 'clock", "arguments": {}}\n</tool_call>'),
]


def make(folder: Path) -> str:
    """Writes the bundle; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    script = {"control": ["<|im_start|>", "<think>", "</think>"]}
    lines = [f"control = {json.dumps(script['control'])}", ""]
    for after, reply in RULES:
        lines += ["[[rules]]", f"after = {json.dumps(after)}", f"reply = {json.dumps(reply)}", ""]
    text = "\n".join(lines).encode()
    (folder / "script.toml").write_bytes(text)
    sha256 = hashlib.sha256(text).hexdigest()
    manifest: dict[str, Any] = {
        "format": 1,
        "name": "caller",
        "engine": "scripted",
        "licence": "Apache-2.0",
        "files": [{"path": "script.toml", "size_bytes": len(text), "sha256": sha256}],
        "context": 4096,
        "chat_template": HERMES,
        "eos_token": "<|im_end|>",
        "control_tokens": ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
        "reasoning": {
            "kind": "marker",
            "switch": "template variable",
            "opens": ["<think>"],
            "shuts": ["</think>"],
            "close": "\n</think>\n\n",
            "probe": "\n</think>\n\nFinal answer:",
            "on": {"variables": {"enable_thinking": True}},
            "off": {"variables": {"enable_thinking": False}},
            "answer": "",
        },
    }
    (folder / "edgereason.json").write_text(json.dumps(manifest), encoding="utf-8")
    return str(folder)

"""Short chat templates with the traits of families: what `families.toml` tells them by, how their
marks are put together, what switches them. Written for the tests.
"""

# ruff: noqa: E501  # a template is easier to read with its lines as they are

from __future__ import annotations

from typing import Final

from support.chat_templates import GPT_OSS, NEMOTRON, QWEN3, R1, SMOLLM3

_TURNS: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
_HEAD: Final = "{% if add_generation_prompt %}<|im_start|>assistant\n"

FAMILIES: Final[dict[str, str]] = {
    "qwen3": QWEN3,
    "smollm3": SMOLLM3,
    "nemotron": NEMOTRON,
    "r1": R1,
    "gpt-oss": GPT_OSS,
    "kimi-k3": """\
{% macro mark(name) %}{{ '<|open|>' + name + '<|sep|>' }}{% endmacro %}\
{% if thinking is undefined %}{% set thinking = true %}{% endif %}\
{% if thinking_effort is defined %}{{ mark('thinking-effort') + thinking_effort }}{% endif %}\
{% for m in messages %}{{ mark('message') + m.role + ':' + m.content + '<|end_of_msg|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ mark('think' if thinking else 'response') }}{% endif %}""",
    "solar": """\
{% for m in messages %}<|begin|>{{ m.role }}\
{% if m.role == 'assistant' %}{% if m.reasoning %}{{ '<|begin|>assistant<|think|>' + m.reasoning }}{% endif %}\
{{ '<|begin|>assistant<|content|>' }}{% endif %}{{ m.content }}<|end|>{% endfor %}\
{% if add_generation_prompt %}\
{% if reasoning_effort in ['low', 'minimal'] %}{{ '<|begin|>assistant<|think|><|end|>' }}{% endif %}\
<|begin|>assistant{% endif %}""",
    "muse": """\
{% for m in messages %}<|start|>{{ m.role }}\
{% if m.reasoning_content %}{{ '<|start|>assistant to=self<|message|>' }}{% endif %}\
<|message|>{{ m.content }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}""",
    "apriel-1.5": "Reason, then [BEGIN FINAL RESPONSE] ... [END FINAL RESPONSE].\n"
    + _TURNS
    + _HEAD
    + "{% endif %}",
    "apriel-1.6": "Reason, then [BEGIN FINAL RESPONSE].\n"
    + _TURNS
    + _HEAD
    + "Here are my reasoning steps:\n{% endif %}",
    "granite-3.3": "{% if thinking %}Write thoughts between <think></think>, the response between "
    "<response></response>.{% endif %}" + _TURNS + _HEAD + "{% endif %}",
    "command-r7b": "{% if false %}<|START_RESPONSE|><|END_RESPONSE|>{% endif %}"
    + _TURNS
    + _HEAD
    + "{% if not enable_thinking %}<|START_THINKING|><|END_THINKING|>{% endif %}{% endif %}",
    "seed": _TURNS + _HEAD + "{% if thinking_budget is defined and thinking_budget == 0 %}"
    "<seed:think>\nNo budget.</seed:think>{% endif %}{% endif %}",
    "hy3": "{% set on = '<think{}>'.format(':x') %}{% set off = '</think{}>'.format(':x') %}"
    + _TURNS
    + _HEAD
    + "{{ on }}{% if reasoning_effort is not defined or reasoning_effort == 'no_think' %}"
    "{{ off }}{% endif %}{% endif %}",
    "minimax-m3": "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}"
    "<mm:think>{{ m.reasoning_content }}</mm:think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    + _HEAD
    + "{% if thinking_mode == 'enabled' %}<mm:think>{% elif thinking_mode == 'disabled' %}"
    "</mm:think>{% endif %}{% endif %}",
    "kimi-vl": _TURNS + _HEAD + "◁think▷{% endif %}",
    "minimax-m1": _TURNS
    + "{% if add_generation_prompt %}<beginning_of_sentence>ai name=a\n{% endif %}",
    "hunyuan": "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n<answer>\n{{ m.content }}\n</answer>{% else %}{{ m.content }}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    + _HEAD
    + "{% if enable_thinking is false %}<think>\n\n</think>\n"
    "{% endif %}{% endif %}",
    # What the model cards say of these is in families.toml; the templates show little or nothing.
    "ernie": "<|im_start|>system\n<global_setting>\nthink_mode=True\n</global_setting><|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<response>\n"
    "{{ m.content }}\n</response>\n{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n<think>\n",
    "deephermes": _TURNS + _HEAD + "{% endif %}",
    "nemotron-v1": "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}" + _HEAD + "{% endif %}",
    "cogito": "{% if enable_thinking %}<|im_start|>system\nEnable deep thinking subroutine."
    "<|im_end|>\n{% endif %}" + _TURNS + _HEAD + "{% endif %}",
    "phi4-mini": "<|system|>Your name is Phi, an AI math expert developed by Microsoft.<|end|>"
    + _TURNS
    + _HEAD
    + "{% endif %}",
    "marco": "{% if messages[0].role != 'system' %}<|im_start|>system\nThink within <Thought>, write "
    "what it comes to within <Output>.<|im_end|>\n{% endif %}" + _TURNS + _HEAD + "{% endif %}",
    "gemma-4": "{% if enable_thinking %}<|im_start|>system\n<|think|>\n<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content.split('<channel|>') %}"
    "{{ part.split('<|channel>')[0] }}{% endfor %}<|im_end|>\n{% endfor %}" + _HEAD + "{% endif %}",
}

NAMES: Final[dict[str, str]] = {
    "deephermes": "DeepHermes 3 Llama 3 8B Preview",
    "nemotron-v1": "Llama 3.1 Nemotron Nano 8B v1",
}
"""Models that their template alone does not tell."""

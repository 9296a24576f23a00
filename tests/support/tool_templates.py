"""Chat templates with the families' ways of writing calls of tools. Written for the tests."""

# ruff: noqa: E501, RUF001  # lines as templates have them; DeepSeek's full-width bars

from __future__ import annotations

from typing import Final


def _template(
    call: str, *, first: str = "", last: str = "", between: str = "", head: str = ""
) -> str:
    """`call` writes one call, of which `f` is the function and `c` the whole. ChatML around it."""
    return (
        head
        + "{%- if tools %}{{ '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif -%}"
        "{%- for m in messages %}"
        "{{- '<|im_start|>' + m.role + '\\n' }}"
        "{%- if m.role == 'tool' %}{{ '<tool_response>' + m.content + '</tool_response>' }}"
        "{%- else %}{{ m.content or '' }}{% endif -%}"
        "{%- if m.tool_calls %}"
        + first
        + "{%- for c in m.tool_calls %}{% set f = c.function %}"
        + call
        + (("{%- if not loop.last %}" + between + "{% endif -%}") if between else "")
        + "{%- endfor -%}"
        + last
        + "{%- endif %}{{ '<|im_end|>\\n' }}{% endfor -%}"
        "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{%- if enable_thinking is defined and enable_thinking %}{{ '<think>\\n' }}{% endif %}"
        "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}"
        "{%- endif %}{% endif -%}"
    )


HERMES: Final = _template(
    '{{ \'\\n<tool_call>\\n{"name": "\' + f.name + \'", "arguments": \' }}{{ f.arguments | tojson }}'
    "{{ '}\\n</tool_call>' }}"
)
LLAMA3: Final = _template(
    "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' }}{{ f.arguments | tojson }}{{ '}' }}",
    first="{%- if m.tool_calls|length != 1 %}{{ raise_exception('one call at a time') }}{% endif -%}",
)
MISTRAL: Final = _template(
    "{%- if c.id|length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif -%}"
    "{{ (f | tojson)[:-1] + ', \"id\": \"' + c.id + '\"}' }}",
    first="{{ '[TOOL_CALLS][' }}",
    last="{{ ']' }}",
    between="{{ ', ' }}",
)
MISTRAL_ARGS: Final = _template(
    "{{ '[TOOL_CALLS]' + f.name + '[ARGS]' }}{{ f.arguments | tojson }}"
)
DEEPSEEK_V3: Final = _template(
    "{{ '<｜tool▁call▁begin｜>' + c.type + '<｜tool▁sep｜>' + f.name + '\\n```json\\n' }}"
    "{{ f.arguments + '\\n```<｜tool▁call▁end｜>' }}",
    first="{{ '<｜tool▁calls▁begin｜>' }}",
    last="{{ '<｜tool▁calls▁end｜>' }}",
    between="{{ '\\n' }}",
)
DEEPSEEK_V31: Final = _template(
    "{{ '<｜tool▁call▁begin｜>' + f.name + '<｜tool▁sep｜>' }}{{ f.arguments | tojson }}"
    "{{ '<｜tool▁call▁end｜>' }}",
    first="{{ '<｜tool▁calls▁begin｜>' }}",
    last="{{ '<｜tool▁calls▁end｜>' }}",
)
KIMI: Final = _template(
    "{{ '<|tool_call_begin|>' + c.id + '<|tool_call_argument_begin|>' }}{{ f.arguments | tojson }}"
    "{{ '<|tool_call_end|>' }}",
    first="{{ '<|tool_calls_section_begin|>' }}",
    last="{{ '<|tool_calls_section_end|>' }}",
)
_ITEMS: Final = "{%- for k, v in f.arguments | items %}"
_VALUE: Final = "{{ (v if v is string else v | tojson) }}"
GLM: Final = _template(
    "{{ '\\n<tool_call>' + f.name + '\\n' }}"
    + _ITEMS
    + "{{ '<arg_key>' + k + '</arg_key>\\n<arg_value>' }}"
    + _VALUE
    + "{{ '</arg_value>\\n' }}{% endfor -%}{{ '</tool_call>' }}"
)
QWEN3_CODER: Final = _template(
    "{{ '\\n<tool_call>\\n<function=' + f.name + '>\\n' }}"
    + _ITEMS
    + "{{ '<parameter=' + k + '>\\n' }}"
    + _VALUE
    + "{{ '\\n</parameter>\\n' }}{% endfor -%}{{ '</function>\\n</tool_call>' }}"
)
MINIMAX: Final = _template(
    "{{ '<invoke name=\"' + f.name + '\">\\n' }}"
    + _ITEMS
    + "{{ '<parameter name=\"' + k + '\">' }}"
    + _VALUE
    + "{{ '</parameter>\\n' }}{% endfor -%}{{ '</invoke>\\n' }}",
    first="{{ '\\n<minimax:tool_call>\\n' }}",
    last="{{ '</minimax:tool_call>' }}",
)
DSML: Final = _template(
    "{{ '<｜DSML｜invoke name=\"' + f.name + '\">\\n' }}"
    + _ITEMS
    + "{{ '<｜DSML｜parameter name=\"' + k + '\" string=\"' + ('true' if v is string else 'false') "
    "+ '\">' }}"
    + _VALUE
    + "{{ '</｜DSML｜parameter>\\n' }}{% endfor -%}{{ '</｜DSML｜invoke>\\n' }}",
    first="{{ '\\n\\n<｜DSML｜function_calls>\\n' }}",
    last="{{ '</｜DSML｜function_calls>' }}",
)
GEMMA4: Final = _template(
    "{{ '<|tool_call>call:' + f.name + '{' }}"
    + _ITEMS
    + "{{ k + ':' }}{{ ('<|\"|>' + v + '<|\"|>') if v is string else v | tojson }}"
    "{%- if not loop.last %}{{ ',' }}{% endif %}{% endfor -%}{{ '}<tool_call|>' }}"
)
LFM2: Final = _template(
    "{{ f.name + '(' }}" + _ITEMS + "{{ k + '=' }}{{ v | tojson if v is string else v }}"
    "{%- if not loop.last %}{{ ', ' }}{% endif %}{% endfor -%}{{ ')' }}",
    first="{{ '<|tool_call_start|>[' }}",
    last="{{ ']<|tool_call_end|>' }}",
    between="{{ ', ' }}",
)
NO_TOOLS: Final = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"
)

ALL: Final = {
    "hermes": HERMES,
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "mistral args": MISTRAL_ARGS,
    "deepseek v3": DEEPSEEK_V3,
    "deepseek v3.1": DEEPSEEK_V31,
    "kimi": KIMI,
    "glm": GLM,
    "qwen3 coder": QWEN3_CODER,
    "minimax": MINIMAX,
    "dsml": DSML,
    "gemma 4": GEMMA4,
    "lfm2": LFM2,
}

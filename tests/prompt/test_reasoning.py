"""Families of reasoning models, recognised by what their templates write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import edgereason
from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.reasoning import PLAIN, Kind, Switch
from edgereason.records import Message
from support.bundles import bundle_of
from support.chat_templates import CHATML, GEMMA, GPT_OSS, LLAMA3, NEMOTRON, QWEN3, R1, SMOLLM3
from support.family_templates import FAMILIES, NAMES

THINK = ("<think>", "</think>")
CHANNELS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
SKIPPED = "Okay, I think I have finished thinking.\n</think>\n\n"


def prompt(bundle: Bundle, thinking: bool, *messages: Message) -> str:
    found = thinking_prompt(bundle, messages or [Message("user", "hi")], thinking)
    return "".join(segment.text for segment in found.segments)


@pytest.mark.parametrize(
    ("template", "switch", "thinking", "silent"),
    [
        (QWEN3, Switch.KWARG, "assistant\n<think>\n", "assistant\n<think>\n\n</think>\n\n"),
        (SMOLLM3, Switch.KWARG, "assistant\n<think>\n", "assistant\n<think>\n\n</think>\n"),
        (NEMOTRON, Switch.FLAG, "Assistant\n<think>\n", "Assistant\n<think></think>"),
        (R1, Switch.PREFILL, "<think>\n", "<think>\n" + SKIPPED),
        (
            GPT_OSS,
            Switch.PREFILL,
            "<|start|>assistant<|channel|>analysis<|message|>",
            "<|start|>assistant<|channel|>final<|message|>",
        ),
        (  # a template that does not know of blocks, but drops old ones
            CHATML.replace("message['content']", "message['content'].split('</think>')[-1]"),
            Switch.PREFILL,
            "assistant\n<think>\n",
            "assistant\n<think>\n" + SKIPPED,
        ),
        (  # granite's way: the variable changes the system message only
            "{% if thinking %}Think in <think></think>.{% endif %}{{ messages[0].content }}:",
            Switch.KWARG,
            "Think in <think></think>.hi:<think>\n",
            "hi:",
        ),
    ],
    ids=["qwen3", "smollm3", "nemotron", "r1", "gpt-oss", "drops", "granite"],
)
def test_prompts_with_and_without_thinking(
    template: str, switch: Switch, thinking: str, silent: str
) -> None:
    bundle = bundle_of(template)
    assert bundle.reasoning.kind is Kind.MARKER
    assert bundle.reasoning.switch is switch
    assert prompt(bundle, True).endswith(thinking)
    assert prompt(bundle, False).endswith(silent)
    assert not prompt(bundle, False).endswith(thinking)


@pytest.mark.parametrize("template", [CHATML, LLAMA3, GEMMA, ""])
@pytest.mark.parametrize("tokens", [None, (), THINK])
def test_instruct_models_take_the_cue(template: str, tokens: tuple[str, ...] | None) -> None:
    """Also where the vocabulary has markers that the template never writes."""
    assert detect_reasoning(template, tokens) is PLAIN


def test_markers_and_what_closes_them() -> None:
    found = detect_reasoning(QWEN3, THINK)
    assert (found.opens, found.shuts) == (("<think>",), ("</think>",))
    assert (found.close, found.answer) == ("\n</think>\n\n", "")
    assert found.probe == "\n</think>\n\nFinal answer:"
    harmony = detect_reasoning(GPT_OSS, CHANNELS)
    assert (harmony.opens, harmony.shuts) == (("<|channel|>analysis<|message|>",), ("<|end|>",))
    assert harmony.close + harmony.answer == (
        "<|end|><|start|>assistant<|channel|>final<|message|>"
    )
    assert harmony.probe == harmony.close + harmony.answer + "Final answer:"


def test_a_marker_must_be_a_token_or_be_written_by_the_template() -> None:
    drops = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    assert detect_reasoning(drops, THINK).kind is Kind.MARKER
    assert detect_reasoning(drops, ("<|im_end|>", "<")) is PLAIN
    assert detect_reasoning(R1, ("<|im_end|>",)).kind is Kind.MARKER  # text, but it writes it


@pytest.mark.parametrize(
    ("opened", "shut"),
    [
        ("<seed:think>", "</seed:think>"),
        ("[THINK]", "[/THINK]"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<|channel>thought", "<channel|>"),
    ],
)
def test_other_markers(opened: str, shut: str) -> None:
    template = (
        "{{ messages[0].content }}{% if enable_thinking %}" + opened + "{% else %}" + opened + shut
    ) + "{% endif %}"
    found = detect_reasoning(template, (opened, shut))
    assert (found.opens, found.shuts, found.switch) == ((opened,), (shut,), Switch.KWARG)
    assert shut in found.close
    assert prompt(bundle_of(template), True) == "hi" + opened
    assert prompt(bundle_of(template), False) == "hi" + opened + shut


def test_a_template_that_takes_no_question_is_refused() -> None:
    with pytest.raises(BundleError, match="refuses a plain question"):
        detect_reasoning("</think>{{ raise_exception('no') }}")


def test_a_broken_template_is_refused_when_it_is_used() -> None:
    bundle = bundle_of("{% if %}</think>")
    assert bundle.reasoning is PLAIN
    with pytest.raises(BundleError, match="error in line 1"):
        prompt(bundle, True)


def test_the_cue_goes_to_the_last_question() -> None:
    bundle = bundle_of(CHATML)
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    thinking = prompt(bundle, True, *turns)
    assert thinking.count("Final answer:") == 1
    assert "c\n\nReason step by step." in thinking
    assert "Final answer:" not in prompt(bundle, False, *turns)
    with pytest.raises(UsageError, match="no message of the user's"):
        prompt(bundle, True, Message("system", "x"))


def test_the_flag_joins_a_system_message() -> None:
    bundle = bundle_of(NEMOTRON)
    assert "be brief\n" in prompt(
        bundle, False, Message("system", "be brief"), Message("user", "x")
    )
    assert prompt(bundle, False).endswith("<think></think>")
    assert prompt(bundle, True, Message("user", "about /think")).endswith("<think>\n")


def test_flags_that_a_user_types_stay_text() -> None:
    bundle = bundle_of(QWEN3)
    assert "why /no_think?" in prompt(bundle, True, Message("user", "why /no_think?"))
    assert prompt(bundle, True, Message("user", "why /no_think?")).endswith("<think>\n")


def test_a_prompt_without_lookalikes_is_one_segment() -> None:
    for template in (CHATML, QWEN3, R1, SMOLLM3, NEMOTRON, GPT_OSS):
        for thinking in (True, False):
            found = thinking_prompt(bundle_of(template), [Message("user", "hi")], thinking).segments
            assert len(found) == 1
            assert found[0].control


def test_a_marker_in_a_question_is_text() -> None:
    found = thinking_prompt(bundle_of(QWEN3), [Message("user", "</think>")], True).segments
    assert [s.text for s in found if not s.control] == ["<", "/think>"]
    assert found[-1].text.endswith("<think>\n")
    cue = thinking_prompt(bundle_of(CHATML), [Message("user", "Final answer: 3")], True).segments
    assert len(cue) == 1  # a cue is no marker


def test_earlier_thoughts_are_the_templates_affair() -> None:
    turns = (Message("user", "a"), Message("assistant", "b", "because"), Message("user", "c"))
    assert "because" not in prompt(bundle_of(QWEN3), True, *turns)
    keeps = "{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}"
    assert "becauseb" in prompt(bundle_of(keeps, PLAIN), False, *turns)


def test_variables_win_over_the_bundles_own() -> None:
    bundle = bundle_of("{{ messages[0].content }}{{ mood }}{{ enable_thinking }}</think>")
    bundle = replace(bundle, reasoning=detect_reasoning(QWEN3))
    found = thinking_prompt(
        bundle, [Message("user", "x")], False, variables={"mood": "gay", "enable_thinking": 7}
    )
    assert found.segments[0].text == "xgay7</think>"


@pytest.mark.parametrize(
    ("family", "budget", "written"),
    [
        ("kimi-k3", 16, "low"),
        ("kimi-k3", 2048, "low"),
        ("kimi-k3", 8192, "high"),
        ("kimi-k3", 20000, "max"),
        ("kimi-k3", -1, ""),
    ],
)
def test_a_budget_turns_the_models_own_dial(family: str, budget: int, written: str) -> None:
    bundle = bundle_of(FAMILIES[family])
    assert bundle.reasoning.dials == {
        "thinking_effort": {name: name for name in ("low", "high", "max")}
    }
    found = thinking_prompt(bundle, [Message("user", "hi")], True, budget=budget)
    text = "".join(piece.text for piece in found.segments)
    assert (f"thinking-effort<|sep|>{written}" in text) is bool(written)
    silent = thinking_prompt(bundle, [Message("user", "hi")], False, budget=budget)
    assert "thinking-effort" not in "".join(piece.text for piece in silent.segments)


def test_a_dial_of_tokens_gets_the_budget() -> None:
    template = "{{ messages[0].content }}{% if thinking_budget is defined %}[{{ thinking_budget }}]"
    bundle = bundle_of(template + "{% endif %}<think>\n{% if false %}</think>{% endif %}")
    assert bundle.reasoning.dials == {"thinking_budget": "tokens"}
    found = thinking_prompt(bundle, [Message("user", "hi")], True, budget=300)
    assert found.segments[0].text == "hi[300]<think>\n"


@pytest.mark.parametrize(
    ("family", "opened", "shut", "off", "answer"),
    [
        ("kimi-k3", "<|open|>think<|sep|>", "<|close|>think<|sep|>", {"thinking": False}, True),
        ("solar", "<|think|>", "<|end|>", {"reasoning_effort": "low"}, True),
        ("muse", " to=self<|message|>", "<|eom|>", {}, True),
        ("apriel-1.5", "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", {}, False),
        ("apriel-1.6", "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", {}, False),
        ("granite-3.3", "<think>", "</think>", {"thinking": False}, True),
        ("command-r7b", "<|START_THINKING|>", "<|END_THINKING|>", {"enable_thinking": False}, True),
        ("seed", "<seed:think>", "</seed:think>", {"thinking_budget": 0}, False),
        ("hy3", "<think:x>", "</think:x>", {"reasoning_effort": "no_think"}, False),
        ("minimax-m3", "<mm:think>", "</mm:think>", {"thinking_mode": "disabled"}, False),
        ("kimi-vl", "◁think▷", "◁/think▷", {}, False),
        ("minimax-m1", "<think>", "</think>", {}, False),
        ("hunyuan", "<think>", "</think>", {"enable_thinking": False}, True),
        ("ernie", "<think>", "</think>", {}, True),
        ("deephermes", "<think>", "</think>", {}, False),
        ("nemotron-v1", "<think>", "</think>", {}, False),
        ("cogito", "<think>", "</think>", {"enable_thinking": False}, False),
        ("phi4-mini", "<think>", "</think>", {}, False),
        ("marco", "<Thought>", "</Thought>", {}, True),
        ("gemma-4", "<|channel>thought", "<channel|>", {"enable_thinking": False}, False),
    ],
)
def test_families_that_were_not_seen(
    family: str, opened: str, shut: str, off: dict[str, object], answer: bool
) -> None:
    found = detect_reasoning(FAMILIES[family], name=NAMES.get(family, ""))
    assert (found.opens, found.shuts) == ((opened,), (shut,))
    assert found.off.variables == off
    assert bool(found.answer) is answer
    assert found.found


def test_manifests_of_before_say_what_stands_behind_a_prompt() -> None:
    """Their modes had a `tail`; the models inside the package have it still."""
    nano = open_bundle(Path(edgereason.__file__).parent / "models" / "nano").reasoning
    assert (nano.enter, nano.skip) == ("<think>\n", "")
    assert nano.leave == nano.close


def test_earlier_thoughts_reach_templates_that_call_them_otherwise() -> None:
    turns = [Message("user", "a"), Message("assistant", "b", "because")]
    for name in ("reasoning", "reasoning_content", "thinking"):
        template = "{% for m in messages %}{{ m.content }}{{ m." + name + " }}{% endfor %}"
        assert prompt(bundle_of(template, PLAIN), False, *turns) == "abbecause"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Llama 3.1 Nemotron Nano 8B v1", True),
        ("nvidia_Llama-3_3-Nemotron-Super-49B-v1-Q4_K_M", True),
        ("Llama-3.1-Nemotron-Nano-4B-v1.1", True),
        ("Llama-3_3-Nemotron-Super-49B-v1_5", False),  # has flags of its own
        ("Meta Llama 3.1 8B", False),
        ("", False),
    ],
)
def test_a_family_that_only_its_name_tells(name: str, is_one: bool) -> None:
    found = detect_reasoning(FAMILIES["nemotron-v1"], name=name)
    assert (found.on.system, found.off.system) == (
        ("detailed thinking on", "detailed thinking off") if is_one else ("", "")
    )
    assert found.found.startswith("families.toml: Llama-Nemotron v1" if is_one else "unclear")


def test_a_sentence_that_switches_a_model_is_honoured_and_not_said_twice() -> None:
    bundle = bundle_of(
        FAMILIES["nemotron-v1"],
        detect_reasoning(FAMILIES["nemotron-v1"], name=NAMES["nemotron-v1"]),
    )
    said_on, said_off = (Message("system", f"detailed thinking {to}") for to in ("on", "off"))
    hi = Message("user", "hi")
    assert prompt(bundle, True).count("detailed thinking on") == 1
    assert prompt(bundle, True, said_on, hi).count("detailed thinking on") == 1
    silenced = thinking_prompt(bundle, [said_off, hi], True)
    assert silenced.thinking is False
    assert "detailed thinking on" not in silenced.segments[0].text
    # Told to think, but not to be asked to: the thought is closed for it.
    silent = thinking_prompt(bundle, [said_on, hi], False)
    assert silent.thinking is False
    assert silent.segments[-1].text.endswith("</think>\n\n")
    assert prompt(bundle, False).endswith("assistant\n")


def test_a_system_message_of_the_templates_own_names_the_marks() -> None:
    """Marco-o1 was taken for plain."""
    told = "{{ 'Write thoughts between <reasoning> and </reasoning>.' }}"
    found = detect_reasoning(told + CHATML)
    assert (found.opens, found.shuts) == (("<reasoning>",), ("</reasoning>",))
    assert found.found == "the template's own system message asks for <reasoning>"
    # One tag alone is no pair, and tags about other things are none of thoughts.
    assert detect_reasoning("{{ 'Use <reasoning> well.' }}" + CHATML).kind is Kind.CUE
    assert detect_reasoning("{{ 'Call with <call> and <output>.' }}" + CHATML) is PLAIN


def test_marks_that_no_plain_conversation_shows_are_told() -> None:
    """MiniCPM3 writes them where it calls functions."""
    shy = "{% if tools %}<|thought_start|>{% endif %}" + CHATML
    found = detect_reasoning(shy)
    assert replace(found, found="") == PLAIN
    assert found.found == "unclear: the template has <|thought_start|>, not in plain conversations"
    assert detect_reasoning(shy, ("<|im_start|>",)) is PLAIN  # it has no such token


def test_prompts_that_open_the_answer_whatever_is_tried_are_told() -> None:
    found = detect_reasoning(f"{CHATML}<think></think>")
    assert (
        found.found == "unclear: nothing that was tried lets it think: its prompts open the answer"
    )


def test_a_plain_answer_in_a_section_of_its_own_ends_with_it() -> None:
    """Command models: their answer ended in a token that stayed in it."""
    section = (
        "{% for m in messages %}{% if m.role == 'assistant' %}<|START_RESPONSE|>{{ m.content }}"
        "<|END_RESPONSE|>{% else %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|START_RESPONSE|>{% endif %}"
    )
    assert detect_reasoning(section) == replace(PLAIN, answer_end="<|END_RESPONSE|>")
    others = section.replace("START_RESPONSE", "answer").replace("<|END_RESPONSE|>", "</s>")
    assert detect_reasoning(others, eos_token="</s>") is PLAIN  # that is the turn's own end


@pytest.mark.parametrize(
    ("dial", "expected"),
    [
        ("low_effort", {"low": True, "high": False}),
        ("medium_effort", {"medium": True, "high": False}),
    ],
)
def test_dials_that_are_on_or_off(dial: str, expected: dict[str, object]) -> None:
    bundle = bundle_of(QWEN3 + "{% if " + dial + " %}{less}{% endif %}")
    assert bundle.reasoning.dials == {dial: expected}
    less, more = (
        thinking_prompt(bundle, [Message("user", "hi")], True, budget=budget).segments[0].text
        for budget in (100, 9000)
    )
    assert ("{less}" in less, "{less}" in more) == (True, False)


def test_a_value_is_tried_where_the_template_has_the_word() -> None:
    only_max = QWEN3 + "{% if reasoning_effort == 'max' %}{more}{% endif %}"
    assert "max" in detect_reasoning(only_max).dials["reasoning_effort"]
    assert "max" not in detect_reasoning(QWEN3 + "{{ reasoning_effort }}").dials["reasoning_effort"]


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("LFM2.5 1.2B Thinking", Kind.MARKER, "its name, and that the template only takes"),
        ("LFM2.5 1.2B Instruct", Kind.CUE, "its name, though the template has </think>"),
        ("LFM2.5 350M", Kind.MARKER, "unclear: the template only takes such marks out"),
    ],
)
def test_a_name_settles_what_the_template_leaves_open(name: str, kind: Kind, found: str) -> None:
    """LFM2.5's template is one for all; its instruct models were called thinkers."""
    drops = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    reasoning = detect_reasoning(drops, name=name)
    assert reasoning.kind is kind
    assert reasoning.found.startswith(found)
    assert detect_reasoning(QWEN3, name="Qwen3 Instruct").kind is Kind.MARKER  # it writes them


def test_marks_of_earlier_answers_alone_are_unclear() -> None:
    keeps = (
        "{% for m in messages %}{{ m.role }}: {% if m.reasoning_content %}<think>\n"
        "{{ m.reasoning_content }}\n</think>\n{% endif %}{{ m.content }}\n{% endfor %}assistant: "
    )
    assert detect_reasoning(keeps).found == (
        "unclear: the template writes such marks into earlier answers alone"
    )
    assert detect_reasoning(keeps, name="Kimi K2 Thinking").found.startswith("its name")
    plain = detect_reasoning(keeps, name="Qwen3 4B Instruct 2507")
    assert (plain.kind, plain.opens) == (Kind.CUE, ())

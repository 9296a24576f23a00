"""The sawtooth on the scripted engine: rounds, cut rounds, summaries without end, and what ends it.

The script counts down: each round takes one off, tells the rest in its summary, and forgets.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgereason.cli.chat import Chat
from edgereason.errors import ContextFullError, UsageError
from edgereason.records import Answer, Budget, Channel, Message, Request, StopReason
from edgereason.runtime.reasoner import Handle, Reasoner
from support.places import SCRIPTED

VARIANT = {"kind": "infty_think", "round_tokens": 48, "summary_tokens": 24}
WORDS = ["<summary>", "</summary>"]
CONTROL = ["<|im_start|>", "<think>", "</think>"]
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n<think>\n"
Rules = dict[str, str]
Open = Callable[..., Reasoner]


def countdown(first: int) -> Rules:
    """From `first` down to 0, one a round."""
    rules = {"Final answer:": " 7", f"Count.{ASSISTANT}": f"from {first}.\n</think>"}
    for left in range(first, 0, -1):
        told = f"<summary>\n{left - 1} left\n</summary>"
        rules[f"from {left}.\n</think>"] = f"\n\n{told}"
        rules[f"<history>\n{left - 1} left\n</history>{ASSISTANT}"] = f"from {left - 1}.\n</think>"
    return rules | {"from 0.\n</think>": "\n\nzero"}


NOISE = " ".join(str(i * 7919 % 997) for i in range(300))
ENDLESS: Rules = {  # never ends a thought by itself; its summary is short
    "<think>\n": NOISE,
    "<summary>\n": "so far\n</summary>",
    "<summary>\nWhat I know so far:": " a little\n</summary>",
    "</think>\n\n": "4",
    "Final answer:": " 7",
}


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Opens a script as a model; `variant` None is one that was never trained for rounds."""
    reasoners = []

    def open_(rules: Rules, variant: dict[str, Any] | None = VARIANT, **options: Any) -> Reasoner:
        listed = [
            f"[[rules]]\nafter = {json.dumps(after)}\nreply = {json.dumps(reply)}\n"
            for after, reply in rules.items()
        ]
        text = f"words = {json.dumps(WORDS)}\ncontrol = {json.dumps(CONTROL)}\n" + "".join(listed)
        (tmp_path / "script.toml").write_text(text)
        manifest = json.loads((Path(SCRIPTED) / "edgereason.json").read_text())
        manifest["files"] = [{"path": "script.toml", "size_bytes": len(text.encode())}]
        (tmp_path / "edgereason.json").write_text(json.dumps(manifest | {"variant": variant}))
        reasoners.append(Reasoner.open(str(tmp_path), **options))
        return reasoners[-1]

    yield open_
    for reasoner in reasoners:
        reasoner.close()


def ask(reasoner: Reasoner, **options: Any) -> Answer:
    return reasoner.ask("Count.", strategy="infty-think", **options)


def names(answer: Answer) -> list[str]:
    return [phase.name for phase in answer.phases]


def texts(handle: Handle) -> dict[Channel, str]:
    found = {channel: "" for channel in Channel}
    for chunk in handle:
        found[chunk.channel] += chunk.text
    return found


def test_rounds_go_on_until_one_answers(opened: Open) -> None:
    reasoner = opened(countdown(40))
    answer = ask(reasoner)
    assert answer.answer == "zero"
    assert answer.finish is StopReason.STOP
    assert names(answer) == [*["think", "answer", "summary"] * 40, "think", "answer"]
    assert answer.reasoning.splitlines()[:4] == ["from 40.", "39 left", "from 39.", "38 left"]


def test_the_kv_is_as_full_after_forty_rounds_as_after_two(opened: Open) -> None:
    short, long = (ask(opened(countdown(num), context=256), answer_budget=8) for num in (12, 42))
    assert short.answer == long.answer == "zero"
    assert short.usage.peak_cells == long.usage.peak_cells
    assert long.usage.reasoning_tokens > 2 * 256


def test_a_round_reads_only_what_the_one_before_did_not(opened: Open) -> None:
    handle = opened(countdown(5)).submit("Count.", strategy="infty-think")
    handle.result()
    thoughts = [result for result in handle.chains[0] if result.name == "think"]
    assert [result.num_cached for result in thoughts[2:]] == [
        len("<|im_start|>user\nCount.\n<history>\n") - len("<|im_start|>") + 1
    ] * 4


def test_no_summary_is_streamed_as_an_answer(opened: Open) -> None:
    handle = opened(countdown(3)).stream("Count.", strategy="infty-think")
    streamed = texts(handle)
    assert streamed[Channel.ANSWER] == handle.result().answer == "zero"
    assert [line for line in streamed[Channel.REASONING].splitlines() if line] == [
        *("from 3.", "2 left", "from 2.", "1 left", "from 1.", "0 left", "from 0.")
    ]


def test_a_round_that_is_cut_is_not_finished(opened: Open) -> None:
    answer = ask(opened(ENDLESS), options={"rounds": 3})
    assert names(answer) == ["think", "summary", "think", "summary", "think", "answer"]
    assert [phase.tokens for phase in answer.phases[::2]] == [48, 48, 48]
    assert [phase.role for phase in answer.phases[:3]] == ["think", "carry", "think"]
    assert answer.budget.think_tokens.asked == -1
    assert answer.budget.think_tokens.effective == 3 * 48 + 2 * 24
    assert answer.answer == "7"
    assert answer.finish is StopReason.BUDGET  # the last round had no summary to make good for it
    assert "<summary>\nso far" in answer.reasoning


def test_the_round_after_a_cut_one_may_answer(opened: Open) -> None:
    rules = ENDLESS | {
        f"<history>\nso far\n</history>{ASSISTANT}": "4\n</think>",
        "4\n</think>": "4",
    }
    answer = ask(opened(rules))
    assert names(answer) == ["think", "summary", "think", "answer"]
    assert answer.answer == "4"
    assert answer.finish is StopReason.STOP


def test_a_summary_without_end_is_cut_and_used(opened: Open) -> None:
    rules = countdown(1) | {"from 1.\n</think>": f"\n\n<summary>\n{NOISE}"}
    told = NOISE[: VARIANT["summary_tokens"] - 1]  # a line break came first
    rules[f"{told}\n</history>{ASSISTANT}"] = "from 0.\n</think>"
    answer = ask(opened(rules))
    assert answer.answer == "zero"
    assert [phase.tokens for phase in answer.phases if phase.name == "summary"] == [24]
    assert answer.finish is StopReason.STOP


def test_summaries_without_end_come_to_an_end(opened: Open) -> None:
    summary = f"\n\n<summary>\n{NOISE}"
    rules = {"<think>\n": "on.\n</think>", "on.\n</think>": summary, "Final answer:": " 7"}
    answer = ask(opened(rules), options={"rounds": 4})
    assert names(answer) == [*["think", "answer", "summary"] * 4, "answer"]
    assert answer.answer == "7"


def test_an_untuned_model_is_told_what_the_history_is(opened: Open) -> None:
    rules = ENDLESS | {
        f"it:\n<history>\na little\n</history>{ASSISTANT}": "so\n</think>",
        "so\n</think>": "4",
    }
    answer = ask(opened(rules, variant=None), options={"round_tokens": 32})
    assert names(answer) == ["think", "summary", "think", "answer"]
    assert "<summary>\nWhat I know so far: a little" in answer.reasoning
    assert answer.answer == "4"


def test_an_untuned_model_that_ends_its_thinking_answers(opened: Open) -> None:
    answer = ask(opened(countdown(1), variant=None))
    assert names(answer) == ["think", "answer"]


@pytest.mark.parametrize("budget", [1, 47, 48, 49, 60, 100, 200])
@pytest.mark.parametrize("variant", [VARIANT, None])
def test_the_budget_holds_over_all_rounds(
    opened: Open, budget: int, variant: dict[str, Any] | None
) -> None:
    options = {"round_tokens": 48, "summary_tokens": 24}
    answer = ask(opened(ENDLESS, variant), think_budget=budget, options=options)
    used = answer.budget.think_tokens.used
    assert used == answer.usage.reasoning_tokens <= budget
    assert all(phase.tokens for phase in answer.phases)
    assert answer.answer == ("7" if variant or names(answer)[-2] == "summary" else "4")


def test_without_a_thinking_budget_it_answers_at_once(opened: Open) -> None:
    assert names(ask(opened(ENDLESS), think_budget=0)) == ["answer"]


def test_a_deadline_in_the_middle_of_the_rounds_is_met(opened: Open) -> None:
    reasoner = opened(ENDLESS, sleep_ms=2)
    for deadline_ms in (450, 500, 550, 600):  # in a thought as well as in a summary
        answer = ask(reasoner, deadline_ms=deadline_ms, answer_budget=8)
        assert answer.answer in ("7", "4")
        assert answer.finish is StopReason.DEADLINE
        assert answer.budget.deadline_ms.late_ms == 0
        assert answer.timings.total_ms > deadline_ms / 2


def test_a_deadline_in_a_summary_leaves_time_for_the_answer(opened: Open) -> None:
    rules = {"<think>\n": "on.\n</think>", "on.\n</think>": f"\n\n<summary>\n{NOISE}"}
    variant = VARIANT | {"summary_tokens": 1000}
    reasoner = opened(rules | {"Final answer:": " 7"}, variant, sleep_ms=2)
    for deadline_ms in (300, 400, 500):
        answer = ask(reasoner, deadline_ms=deadline_ms, answer_budget=8)
        assert names(answer) == ["think", "answer", "summary", "answer"]
        assert answer.answer == "7"
        assert answer.budget.deadline_ms.late_ms == 0


def test_an_empty_summary_leaves_the_one_before_in_place(opened: Open) -> None:
    rules = countdown(2) | {"from 1.\n</think>": "\n\n<summary>\n\n</summary>"}
    answer = ask(opened(rules), options={"rounds": 4})
    assert answer.reasoning.splitlines() == ["from 2.", "1 left", *["from 1."] * 3]


def test_cancel_ends_it(opened: Open) -> None:
    reasoner = opened(ENDLESS, sleep_ms=2)
    handle = reasoner.stream("Count.", strategy="infty-think")
    seen = ""
    for chunk in handle:
        seen += chunk.text
        if seen.endswith("so far"):
            handle.cancel()
    assert handle.result(5).finish is StopReason.CANCELLED
    assert reasoner.wait_idle()
    assert reasoner.stats()["num_free_cells"] == reasoner.engine.info["num_cells"]


@pytest.mark.parametrize(
    ("after", "phases"),
    [
        ("think", ["think", "summary", "answer"]),
        ("summary", ["think", "summary", "think", "answer"]),
    ],
)
def test_stop_thinking_also_stops_the_rounds_to_come(
    opened: Open, after: str, phases: list[str]
) -> None:
    """Also where it comes while Python decides, and no phase runs."""
    handles: list[Handle] = []
    submitted = threading.Event()

    def stop(event: Any) -> None:
        if event.kind == "phase_end" and event.data["phase"] == after:
            assert submitted.wait(10)
            handles[0].stop_thinking()

    reasoner = opened(ENDLESS, trace=stop)
    handles.append(reasoner.submit("Count.", strategy="infty-think"))
    submitted.set()
    answer = handles[0].result(10)
    assert answer.answer == "7"
    assert names(answer) == phases
    assert answer.finish is StopReason.INTERRUPTED


def test_after_the_last_round_it_must_answer(opened: Open) -> None:
    answer = ask(opened(countdown(40)), options={"rounds": 5})
    assert names(answer)[-2:] == ["summary", "answer"]
    assert answer.answer == "7"
    assert answer.finish is StopReason.BUDGET  # the model would have gone on


def test_a_context_too_small_for_a_round_says_what_would_fit(opened: Open) -> None:
    reasoner = opened(ENDLESS, context=160)
    with pytest.raises(ContextFullError, match="the context holds 160") as caught:
        ask(reasoner, options={"round_tokens": 200})
    fits = int(caught.value.hint.split("round_tokens of at most ")[1].split(",")[0])
    answer = ask(reasoner, options={"round_tokens": fits, "rounds": 4})
    assert answer.answer == "7"
    assert answer.usage.peak_cells <= 160
    assert StopReason.CONTEXT.value not in {phase.reason for phase in answer.phases}
    with pytest.raises(ContextFullError, match="round_tokens of at most"):
        ask(reasoner, options={"round_tokens": fits + 1})


def test_the_answer_gets_what_a_round_leaves_of_a_short_context(opened: Open) -> None:
    reasoner = opened(countdown(2) | {"from 0.\n</think>": NOISE}, context=220)
    answer = ask(reasoner)
    budget = answer.budget.answer_tokens
    assert (budget.asked, budget.ended_by) == (256, "budget")
    assert 24 <= budget.effective == budget.used == answer.phases[-1].tokens < 60
    assert answer.finish is StopReason.BUDGET


def test_an_untuned_model_gets_rounds_that_fit(opened: Open) -> None:
    reasoner = opened(ENDLESS, variant=None, context=512)
    answer = ask(reasoner, options={"rounds": 4}, answer_budget=16)
    assert names(answer).count("summary") == 3
    assert StopReason.CONTEXT.value not in {phase.reason for phase in answer.phases}


@pytest.mark.parametrize("first", [1, 12])
def test_a_chat_forgets_thoughts_that_no_context_held(opened: Open, first: int) -> None:
    reasoner = opened(countdown(first), context=256)
    budget = Budget(answer_tokens=8)
    template = Request((Message("user", "?"),), strategy="infty-think", budget=budget)
    chat = Chat(reasoner, template, ())
    chat._answer("Count.")
    assert chat.turns[-1].content == "zero"
    assert (chat.turns[-1].reasoning is None) == (first == 12)


@pytest.mark.parametrize("name", ["round_tokens", "summary_tokens", "rounds"])
def test_options_must_be_positive(opened: Open, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be 1 or more, got 0"):
        ask(opened(ENDLESS), options={name: 0})


def test_an_answer_budget_must_hold_the_opening_of_a_summary(opened: Open) -> None:
    with pytest.raises(UsageError, match="takes 3 tokens to open a summary"):
        ask(opened(countdown(2)), answer_budget=2)
    answer = ask(opened(countdown(2)), answer_budget=3)
    assert answer.answer == "z"
    assert names(answer) == [*["think", "answer", "summary"] * 2, "think", "answer"]


@pytest.mark.model
def test_a_real_model_that_was_never_trained_for_it(smollm2: Path) -> None:
    """Its rounds and summaries stay inside their bounds, and an answer comes."""
    question = "List ten animals, and say of each one where it lives and what it eats."
    options = {"round_tokens": 48, "summary_tokens": 24, "rounds": 4}
    budget = {"think_budget": 300, "answer_budget": 16}
    with Reasoner.open(str(smollm2), context=1024) as reasoner:
        handle = reasoner.submit(question, strategy="infty-think", options=options, **budget)
        answer = handle.result()
        thoughts = [result for result in handle.chains[0] if result.name == "think"]
    assert names(answer)[:4] == ["think", "summary", "think", "summary"]
    assert answer.answer
    assert max(phase.tokens for phase in answer.phases if phase.name == "summary") <= 24
    longest = max(result.num_prompt for result in thoughts)
    assert answer.usage.peak_cells <= longest + 48 + 24 + 16 + 32  # and the marks
    assert answer.usage.reasoning_tokens > 100

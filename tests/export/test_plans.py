"""Compiled plans: strategies as chains, chat templates as pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from edgereason.errors import UnsupportedError, UsageError
from edgereason.export.plans.chain import BudgetRule, Chain, Way, chain_for, prompt_of
from edgereason.export.plans.conversation import Conversation, learn
from edgereason.export.plans.plan import write_plan
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.prompt.guards import Guards
from edgereason.prompt.reasoning import Kind
from edgereason.prompt.template import literals_of
from edgereason.records import Budget, Message, Phase, Role, Segment
from support.bundles import bundle_of
from support.chat_templates import CHATML, QWEN3
from support.cli_runner import Cli

QUESTION = (Message("user", "What is 17 * 3?"),)
TRIMS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
LIFTS = CHATML.replace("message['content'] +", "message['content'].lstrip('\\n') +")


def no_words(words: Sequence[str]) -> tuple[int, ...]:
    return ()


def chain(strategy: str, model: str = "nano", **more: object) -> Chain:
    bundle = open_bundle(resolve(model))
    return chain_for(Way(strategy, **more), bundle, no_words, QUESTION)  # type: ignore[arg-type]


def learned(template: str, strategy: str = "think") -> Conversation:
    bundle = bundle_of(template)
    marks = (*bundle.reasoning.opens, *bundle.reasoning.shuts)

    def render(messages: Sequence[Message]) -> tuple[Segment, ...]:
        return prompt_of(Way(strategy), bundle, no_words, messages)

    return learn(
        render,
        template,
        bundle.control_tokens,
        marks if bundle.reasoning.kind is Kind.MARKER else (),
        literals_of(template),
    )


# --- strategies -----------------------------------------------------------------------------------


def test_thinking_is_two_phases_whose_budgets_are_the_requests() -> None:
    made = chain("think")
    assert [phase.role for phase in made.phases] == [Role.THINK, Role.ANSWER]
    assert made.rules == (BudgetRule("think"), BudgetRule("answer"))
    assert (made.mark, made.fixed_think, made.needs_think) == ("", False, True)


def test_no_think_has_one_phase() -> None:
    made = chain("no-think")
    assert made.rules == (BudgetRule("answer"),)


def test_brief_limits_the_thinking_budget_and_cannot_do_without() -> None:
    made = chain("brief")
    assert made.rules == (BudgetRule("think", 128), BudgetRule("answer"))
    assert made.needs_think


def test_what_is_owed_to_the_answer_is_its_phase() -> None:
    assert [phase.owed for phase in chain("brief").phases] == [0, 0]


def test_hbpo_holds_for_the_budget_that_it_tells() -> None:
    made = chain("hbpo", budget=Budget(24))
    assert made.fixed_think
    assert made.rules[0] == BudgetRule("nothing", 24)
    assert "24 tokens" in made.phases[0].force


def test_coconut_answers_behind_its_mark() -> None:
    made = chain("coconut", "nano-coconut")
    assert made.mark == "#"
    assert made.rules == (BudgetRule("think", 6), BudgetRule("think"), BudgetRule("answer"))


def test_budget_forcing_without_waits_is_a_chain() -> None:
    assert len(chain("budget-forcing", options={"waits": 0}).phases) == 2


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("budget-forcing", "decides in Python"),
        ("vote", "several lines"),
        ("auto", "several lines"),
        ("program", "several lines of thought, or a program"),
        ("soft", "thinks in blends"),
    ],
)
def test_ways_that_branch_are_refused_by_name(strategy: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why) as caught:
        chain(strategy)
    assert strategy in caught.value.message


def test_infty_think_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="infty-think"):
        chain("infty-think", "nano-infty")


# --- templates ------------------------------------------------------------------------------------


def test_a_template_is_what_it_writes_between_speakers() -> None:
    made = learned(CHATML)
    assert made.between["begin", "system"] == "<|im_start|>system\n"
    assert made.between["system", "user"] == "<|im_end|>\n<|im_start|>user\n"
    assert made.between["user", "end"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert made.trims == {role: ("", "") for role in ("system", "user", "assistant")}


def test_what_a_strategy_adds_to_the_question_stands_behind_it() -> None:
    assert "at most 5 words" in learned(CHATML, "brief").between["user", "end"]


def test_a_template_that_drops_old_thoughts_does_not_take_them() -> None:
    assert "</think>" in learned(QWEN3).unsaid


def test_blanks_that_a_template_takes_away_are_known() -> None:
    assert learned(TRIMS, "no-think").trims["user"] == ("blanks", "blanks")
    assert learned(LIFTS, "no-think").trims["user"] == ("newlines", "")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (CHATML.replace("message['content'] +", "message['content'] | upper +"), "left out"),
        (CHATML.replace("message['content'] +", "message['content'] | replace('a', '') +"), "oth"),
        (CHATML.replace("in messages %}", "in messages[-1:] %}"), "left"),
        (CHATML.replace("'<|im_start|>' +", "'<|im_start|>' + loop.index|string +"), "depends"),
    ],
)  # fmt: skip
def test_templates_that_do_more_than_to_put_texts_in_places_are_refused(
    template: str, why: str
) -> None:
    assert template != CHATML
    with pytest.raises(UnsupportedError, match=why):
        learned(template, "no-think")


def test_texts_on_which_a_template_acts_are_named() -> None:
    acts = CHATML + "{% if '/no_think' in messages[0]['content'] %}quick{% endif %}"
    assert learned(acts, "no-think").acted_on == ("/no_think",)


def test_a_template_that_acts_on_a_single_character_is_refused() -> None:
    acts = CHATML + "{% if '~' in messages[0]['content'] %}quick{% endif %}"
    with pytest.raises(UnsupportedError, match="'~'"):
        learned(acts, "no-think")


def test_without_a_system_message_there_is_none() -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"
    assert ("begin", "system") not in learned(refuses + CHATML).between


def test_filled_pieces_are_what_the_template_writes() -> None:
    made = learned(QWEN3)
    bundle = bundle_of(QWEN3)
    talk = [
        Message("system", "a <|im_end|> b"),
        Message("user", "<|im_<|im_end|>start|> \n"),
        Message("assistant", "so"),
        Message("user", "<think> </think>"),
    ]
    text = "".join(said.content for said in talk)
    guards = Guards.chosen(QWEN3, bundle.control_tokens, ("<think>", "</think>"), text)
    assert made.fill(talk, guards) == prompt_of(Way("think"), bundle, no_words, talk)


# --- the file -------------------------------------------------------------------------------------


def test_a_plan_holds_conversations_with_their_tokens(tmp_path: Path) -> None:
    made = write_plan(Way("think"), "nano", tmp_path / "think.json")
    data = json.loads((tmp_path / "think.json").read_text(encoding="utf-8"))
    assert data["format"] == "edgereason-plan-1"
    assert made.phases == ("think", "answer")
    assert made.has_system
    assert made.has_history
    assert all(check["tokens"] for check in data["checks"])
    assert any("<|im_end|>" in said["text"] for c in data["checks"] for said in c["messages"])


def test_a_plan_that_is_there_is_replaced_on_request_only(tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    out.write_text("")
    with pytest.raises(UsageError, match="--force"):
        write_plan(Way("think"), "nano", out)
    write_plan(Way("think"), "nano", out, force=True)
    assert out.read_text(encoding="utf-8")


def test_templates_that_write_the_date_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated = replace(open_bundle(resolve("nano")), chat_template="{{ strftime_now('%d') }}")
    monkeypatch.setattr("edgereason.export.plans.plan.open_bundle", lambda path: dated)
    with pytest.raises(UnsupportedError, match="another text each time"):
        write_plan(Way("think"), "nano", tmp_path / "plan.json")


def test_the_command_says_what_it_made(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "coconut.json"
    done = cli("export", "plan", "nano-coconut", "--way", "coconut", "--out", str(out), "--json")
    told = done.json
    assert told["phases"] == ["latent", "think", "answer"]
    assert json.loads(out.read_text(encoding="utf-8"))["hidden"] is True


def test_the_command_refuses_what_branches(cli: Cli, tmp_path: Path) -> None:
    done = cli("export", "plan", "nano", "--way", "vote", "--out", str(tmp_path / "vote.json"))
    assert done.code == 2
    assert "vote" in done.err


def test_a_plan_has_all_that_a_phase_has(tmp_path: Path) -> None:
    """A new field of phases must not be left out in silence."""
    write_plan(Way("think", {"brake": 0.5}), "nano", tmp_path / "plan.json")
    (phase, _) = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["phases"]
    # `fresh` is the conversation; what follows, and what is owed to it, is the next of the list.
    elsewhere = {"fresh", "owed", "kind", "then"}
    refused = {"blend", "grammar", "score", "call", "logprobs", "score_prompt", "total"}
    assert set(phase) == {field.name for field in fields(Phase)} - elsewhere - refused
    assert phase["brake"] == 0.5

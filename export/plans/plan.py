"""Writes a compiled plan: a strategy's chain, a template's pieces, and a few conversations with
their tokens, by which the C library sees whether it has the right model and fills in the same way.

The file is one JSON object, `format` edgereason-plan-1; `native/capi/plan.cc` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason import engines, files
from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import Bundle, model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.models.prefix_file import base_hash
from edgereason.prompt.lowering import Words, prompt_tokens
from edgereason.prompt.reasoning import Kind
from edgereason.prompt.template import literals_of
from edgereason.records import Capability, Message, Phase, Segment
from edgereason.registry import load
from edgereason.strategies.base import choose

from .chain import BudgetRule, Chain, Way, chain_for, prompt_of
from .conversation import Conversation, learn

__all__ = ["FORMAT", "Written", "write_plan"]

FORMAT: Final = "edgereason-plan-1"
_ENGINE: Final = "llamacpp"
_QUESTION: Final = (Message("user", "What is 17 * 3?"),)
_VARYING: Final = ("strftime_now", "random")


@dataclass(frozen=True, slots=True)
class Written:
    """What a plan holds, for people."""

    path: Path
    model: str
    way: str
    phases: tuple[str, ...]
    has_system: bool
    has_history: bool
    acted_on: tuple[str, ...]


def write_plan(way: Way, model: str, out: Path, *, force: bool = False) -> Written:
    """Compiles `way` for `model`.

    Raises `UnsupportedError` where the strategy is no chain of phases, where the template is not
    made of pieces, or where the model is for another engine.
    """
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "add --force to replace it")
    bundle = open_bundle(resolve(model))
    _check(bundle)
    module = load(engines, _ENGINE)
    # Asked for tokens only.
    engine: Any = module.open(bundle, module.Config(context=256, sequences=1, batch=32))
    words = Words(engine)
    chain = chain_for(way, bundle, words, _QUESTION)

    def render(messages: Sequence[Message]) -> tuple[Segment, ...]:
        return prompt_of(way, bundle, words, messages)

    reasoning = bundle.reasoning
    marks = (*reasoning.opens, *reasoning.shuts) if reasoning.kind is Kind.MARKER else ()
    template = bundle.chat_template
    talk = learn(render, template, bundle.control_tokens, marks, literals_of(template))
    checks = [
        {"messages": _messages(each), "tokens": prompt_tokens(render(each), engine)}
        for each in _proofs(talk)
    ]
    needs = choose(way.strategy, way.options, bundle).needs
    data = _data(way, bundle, chain, talk, hidden=Capability.HIDDEN_OUT in needs)
    _write(out, data | {"checks": checks})
    return Written(
        out,
        bundle.name,
        way.strategy,
        tuple(phase.name for phase in chain.phases),
        ("begin", "system") in talk.between,
        ("user", "assistant") in talk.between,
        talk.acted_on,
    )


def _check(bundle: Bundle) -> None:
    if bundle.engine != _ENGINE:
        raise UnsupportedError(
            f"{bundle.name} is for engine {bundle.engine}, and the C library opens GGUF files",
            "make a plan for the GGUF that it was exported from",
        )
    for name in _VARYING:
        if name in bundle.chat_template:
            raise UnsupportedError(
                f"the chat template of {bundle.name} writes another text each time ({name})",
                "use the model through Python, which runs the template itself",
            )


def _proofs(talk: Conversation) -> Iterator[tuple[Message, ...]]:
    """Conversations of every order that there is, with all that may become a control token."""
    hostile = "a" + "b".join(f"{text} {text}" for text in talk.guarded[:16])
    acted = any(text in hostile for text in talk.acted_on)
    said = "Grüße, \U0001f600 and\n\ntwo lines " + ("" if acted else hostile)
    yield _QUESTION
    yield (Message("user", said),)
    if ("begin", "system") in talk.between:
        yield (Message("system", said), *_QUESTION)
    if ("user", "assistant") in talk.between:
        yield (Message("user", said), Message("assistant", "It is 51.\n"), *_QUESTION)


def _messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": each.role, "text": each.content} for each in messages]


def _data(
    way: Way, bundle: Bundle, chain: Chain, talk: Conversation, *, hidden: bool
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "way": way.strategy.replace("_", "-"),
        "model": {
            "name": bundle.name,
            "file": model_file(bundle).name if bundle.path.is_file() else bundle.files[0].path,
            "base": base_hash(bundle),
        },
        "hidden": hidden,
        "mark": chain.mark,
        "budgets": {
            "think": way.budget.think_tokens,
            "answer": way.budget.answer_tokens,
            "fixed_think": chain.fixed_think,
            "needs_think": chain.needs_think,
        },
        "conversation": {
            "between": [
                {"before": before, "after": after, "text": text}
                for (before, after), text in talk.between.items()
            ],
            "trims": [
                {"role": role, "left": left, "right": right}
                for role, (left, right) in talk.trims.items()
            ],
            "tail": talk.tail,
            "guarded": talk.guarded,
            "cut_after": talk.cut_after,
            "unsaid": talk.unsaid,
            "acted_on": talk.acted_on,
        },
        "phases": [
            _phase(phase, rule) for phase, rule in zip(chain.phases, chain.rules, strict=True)
        ],
    }


def _phase(phase: Phase, rule: BudgetRule) -> dict[str, Any]:
    sampling = phase.sampling
    return {
        "name": phase.name,
        "role": phase.role.value,
        "latent": phase.latent,
        "retract": phase.retract,
        "force": phase.force,
        "budget": {"of": rule.of, "most": rule.most},
        "soft": phase.soft,
        "brake": phase.brake,
        "open": phase.open,
        "shut": phase.shut,
        "close": phase.close,
        "stop": phase.stop,
        "sampling": {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "penalty_window": sampling.penalty_window,
            "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()},
            "seed": sampling.seed,
        },
        "probe": None
        if phase.probe is None
        else {
            "every": phase.probe.every,
            "cue": phase.probe.cue,
            "tokens": phase.probe.tokens,
            "agree": phase.probe.agree,
            "sure": phase.probe.sure,
        },
        "loop": None
        if phase.loop is None
        else {
            "max_period": phase.loop.max_period,
            "repeats": phase.loop.repeats,
            "min_tokens": phase.loop.min_tokens,
        },
    }


def _write(out: Path, data: dict[str, Any]) -> None:
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with files.writing(unfinished) as file:
            file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())
        unfinished.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None

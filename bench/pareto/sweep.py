"""Asks: the same questions for all settings, in turns, one trial a line, until the time is over.

A turn is one question of each task. Within it the models follow each other, and for each model its
ways, first to last in one turn and last to first in the next, so that a slow hour of the machine
hits all. One request at a time. A run that was killed goes on with what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import psutil

from edgereason.errors import EdgereasonError
from edgereason.records import Answer, Sampling
from edgereason.runtime.reasoner import Handle, Reasoner

from ..harness.items import asked, is_right
from ..harness.runner import OthersMeter, Say, commit, open_warm
from ..harness.trials import Key, Store, Trial
from ..tasks.base import Item
from .plan import Family, Plan, Setting
from .traces import Cut, Same, at_budget, at_samples

SUITE = "pareto"


class Meter(Protocol):
    """Of energy. `stop` gives joules since `start`, None where the meter could not tell."""

    def start(self) -> None: ...
    def stop(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How a sweep is run.

    Attributes:
        seconds: no trial begins later than that.
        check: so many questions of each task are also run where they could be read off, so that
            both can be compared, and times of smaller votes are known.
    """

    device: str
    seed: int = 0
    seconds: float = float("inf")
    check: int = 2
    meter: Meter | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One family on one question of turn `turn`: asked in one go, since what is read off needs the
    tokens of the run, which no trial keeps."""

    turn: int
    task: str
    item: Item
    family: Family

    def keys(self, terms: Terms) -> list[Key]:
        """Of the trials that it gives."""
        keys = [self.key(setting, terms) for setting in self.family.settings]
        if self.turn < terms.check:
            keys += [self.key(setting, terms, check=True) for setting in self.family.read_off]
        return keys

    def key(self, setting: Setting, terms: Terms, *, check: bool = False) -> Key:
        return _config(setting, check), self.task, self.item.id, terms.seed, terms.device


@dataclass(frozen=True, slots=True)
class _Traced:
    """A run whose tokens others are read off."""

    work: Work
    handle: Handle
    trial: Trial


class Keeper(Protocol):
    """Where trials go: a `Store`, or what carries them there."""

    def __contains__(self, key: Key) -> bool: ...
    def append(self, trial: Trial) -> None: ...


@dataclass(slots=True)
class Count:
    """What a sweep did."""

    run: int = 0
    read_off: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # config -> why, of the first failure
    out_of_time: bool = False


def sweep(
    plan: Plan,
    tasks: Mapping[str, Sequence[Item]],
    store: Store,
    terms: Terms,
    say: Say,
    *,
    drop: Callable[[int], frozenset[str]] = lambda done: frozenset(),
) -> Count:
    """Asks all that is missing in `store`, in this process."""
    count = Count()
    with closing(Asker(terms)) as asker:
        for work in works(plan, tasks, store, terms, count=count, say=say, drop=drop):
            asker.ask(work, store, count)
    return count


def works(
    plan: Plan,
    tasks: Mapping[str, Sequence[Item]],
    store: Store,
    terms: Terms,
    *,
    count: Count,
    say: Say,
    drop: Callable[[int], frozenset[str]] = lambda done: frozenset(),
) -> Iterator[Work]:
    """What is missing in `store`, in the order in which it is asked; whoever takes one asks it, and
    counts it, before taking the next.

    `drop` is told after each turn how many are done and says which `config`s need not go on.
    """
    until = time.monotonic() + terms.seconds
    num_turns = max(map(len, tasks.values()), default=0)
    for turn in range(num_turns):
        for work in _turn(plan, tasks, turn):
            if any(key not in store for key in work.keys(terms)):
                if time.monotonic() > until:
                    count.out_of_time = True
                    break
                yield work
        say(f"turn {turn + 1} of {num_turns}: {count.run} asked, {count.read_off} read off")
        if count.out_of_time:
            break
        plan = plan.without(drop(turn + 1))


def _turn(plan: Plan, tasks: Mapping[str, Sequence[Item]], turn: int) -> Iterator[Work]:
    """One question, or none any more, of each task; forwards and backwards in turn."""
    for model in plan.models if turn % 2 == 0 else reversed(plan.models):
        families = plan.of_model(model)
        for task, items in tasks.items():
            if turn < len(items):
                for family in families if turn % 2 == 0 else reversed(families):
                    yield Work(turn, task, items[turn], family)


class Asker:
    """Asks; opens each model anew in each turn."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._commit = commit()
        self._reasoner: Reasoner | None = None
        self._open = (-1, "")  # turn and model

    def close(self) -> None:
        if self._reasoner is not None:
            self._reasoner.close()
            self._reasoner = None

    def ask(self, work: Work, store: Keeper, count: Count) -> None:
        """Each trial is kept before the next begins. The run first: others are read off it."""
        reasoner = self._opened(work)
        try:
            handle, trial = self._run(reasoner, work, work.family.run, count)
            store.append(trial)
            traced = _Traced(work, handle, trial)
            for setting in work.family.read_off:
                if work.key(setting, self._terms) not in store:
                    store.append(self._read(reasoner, traced, setting, count))
                if work.turn < self._terms.check and (
                    work.key(setting, self._terms, check=True) not in store
                ):
                    store.append(self._run(reasoner, work, setting, count, check=True)[1])
        except EdgereasonError as error:  # such as a prompt too long: others go on
            count.failed.setdefault(work.family.run.config, f"{error}")

    def _opened(self, work: Work) -> Reasoner:
        setting = work.family.run
        if self._reasoner is None or self._open != (work.turn, setting.model):
            self.close()
            self._reasoner = open_warm(setting.model, setting.threads, setting.context)
            self._open = (work.turn, setting.model)
        return self._reasoner

    # -- running -----------------------------------------------------------------------------------

    def _run(
        self,
        reasoner: Reasoner,
        work: Work,
        setting: Setting,
        count: Count,
        *,
        check: bool = False,
    ) -> tuple[Handle, Trial]:
        meter, others = self._terms.meter, OthersMeter()
        if meter is not None:
            meter.start()
        keywords = {**setting.parsed.keywords, "think_budget": setting.budget}
        handle, answer, first_ms = _ask(
            reasoner, asked(work.item), setting, self._terms.seed, **keywords
        )
        joules = None if meter is None else meter.stop()
        count.run += 1
        made = self._trial(reasoner, work, setting, answer, check=check)
        return handle, replace(
            made,
            queue_ms=answer.timings.queue_ms,
            prefill_ms=answer.timings.prefill_ms,
            think_ms=answer.timings.think_ms,
            answer_ms=answer.timings.answer_ms,
            total_ms=answer.timings.total_ms,
            first_token_ms=first_ms,
            joules=joules,
            others_cores=others.others(),
        )

    def _trial(
        self,
        reasoner: Reasoner,
        work: Work,
        setting: Setting,
        answer: Answer,
        *,
        check: bool = False,
    ) -> Trial:
        """All but times: those of a run and those that are read off differ."""
        usage = answer.usage
        return Trial(
            suite=SUITE,
            device=self._terms.device,
            config=_config(setting, check),
            model=setting.model,
            quant=reasoner.bundle.quantization,
            engine=reasoner.bundle.engine,
            way=setting.way,
            answer_limit=setting.answer_tokens,
            temperature=setting.temperature,
            threads=setting.threads,
            context=setting.context,
            think_limit=setting.think_tokens,
            task=work.task,
            question=work.item.id,
            seed=self._terms.seed,
            answer=answer.answer,
            right=is_right(work.item, answer.answer),
            finish=answer.finish.value,
            prompt_tokens=usage.prompt_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            latent_tokens=usage.latent_tokens,
            answer_tokens=usage.answer_tokens,
            peak_cells=usage.peak_cells,
            rss_mib=psutil.Process().memory_info().rss / 2**20,
            at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            commit=self._commit,
        )

    # -- reading off -------------------------------------------------------------------------------

    def _read(self, reasoner: Reasoner, traced: _Traced, setting: Setting, count: Count) -> Trial:
        """The trial of `setting`, off that of the family's run where that is certain."""
        family = traced.work.family
        read = self._ballot if family.kind == "vote" else self._budget
        made = read(reasoner, traced, setting)
        if made is None:
            return self._run(reasoner, traced.work, setting, count)[1]
        count.read_off += 1
        return replace(made, source="read off", of=family.run.way)

    def _ballot(self, reasoner: Reasoner, traced: _Traced, setting: Setting) -> Trial | None:
        trial = traced.trial
        ballot = at_samples(traced.handle.chains, setting.parsed)
        if ballot is None:
            return None
        made = self._trial(reasoner, traced.work, setting, ballot.answer)
        return replace(  # its time is not known: fewer samples side by side are faster
            made,
            prompt_tokens=trial.prompt_tokens,
            reasoning_tokens=ballot.reasoning_tokens,
            answer_tokens=ballot.answer_tokens,
            peak_cells=trial.peak_cells,
            others_cores=trial.others_cores,
        )

    def _budget(self, reasoner: Reasoner, traced: _Traced, setting: Setting) -> Trial | None:
        trial, bundle = traced.trial, reasoner.bundle
        if bundle.reasoning.dials or _is_penalized(bundle.sampling):
            return None  # the prompt tells the budget, or a given thought is no written one
        chain, close = traced.handle.chains[0], bundle.reasoning.close
        found = at_budget(chain, setting.budget, close, reasoner.engine)
        if isinstance(found, Same):
            return replace(trial, config=setting.config, way=setting.way, joules=None)
        if found is None:
            return None
        thought = {"strategy": "given-thought", "options": {"thought": found.thought}}
        _, answer, _ = _ask(
            reasoner, asked(traced.work.item), setting, self._terms.seed, **thought, think_budget=0
        )
        made = self._trial(reasoner, traced.work, setting, answer)
        return replace(made, **_times(trial, answer, found))


def _is_penalized(sampling: Sampling) -> bool:
    """Tokens that were written count for what may follow; those of a prompt do not."""
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0


def _times(trial: Trial, answer: Answer, cut: Cut) -> dict[str, Any]:
    """Of a run that would have been cut there: the marks that end its thought take one step."""
    answer_ms = cut.step_ms + answer.timings.answer_ms
    before_ms = (trial.queue_ms or 0.0) + (trial.prefill_ms or 0.0)
    return {
        "finish": "budget",
        "prompt_tokens": answer.usage.prompt_tokens - cut.num_tokens,
        "reasoning_tokens": cut.num_tokens,
        "queue_ms": trial.queue_ms,
        "prefill_ms": trial.prefill_ms,
        "think_ms": cut.think_ms,
        "answer_ms": answer_ms,
        "total_ms": before_ms + cut.think_ms + answer_ms,
        "first_token_ms": trial.first_token_ms,
        "others_cores": trial.others_cores,
    }


def _config(setting: Setting, check: bool) -> str:
    """Runs that only check what was read off are trials of their own."""
    return f"{setting.config}-check" if check else setting.config


def _ask(
    reasoner: Reasoner, question: str, setting: Setting, seed: int, **keywords: Any
) -> tuple[Handle, Answer, float | None]:
    """The answer, and milliseconds until its first text."""
    begin = time.monotonic()
    first_ms = None
    handle = reasoner.stream(
        question,
        answer_budget=setting.answer_tokens,
        soft=1.0,  # a hard budget: a soft one changes the thoughts before it
        sampling=replace(reasoner.bundle.sampling, temperature=setting.temperature, seed=seed),
        **keywords,
    )
    for _ in handle:
        if first_ms is None:
            first_ms = 1000 * (time.monotonic() - begin)
    return handle, handle.result(), first_ms

"""Asks: the same questions for all settings, in turns, one trial a line, until the time is over.

A turn is one question of each task. Within it the models follow each other, and for each model its
ways, first to last in one turn and last to first in the next, so that a slow hour of the machine
hits all. One request at a time. A run that was killed goes on with what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import psutil

from edgereason.errors import EdgereasonError
from edgereason.records import Answer, Sampling
from edgereason.runtime.reasoner import Handle, Reasoner

from ..harness.items import asked, is_right
from ..harness.runner import OthersMeter, Say, commit
from ..harness.trials import Store, Trial
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
class _Traced:
    """A run whose tokens others are read off."""

    family: Family
    item: Item
    handle: Handle
    trial: Trial


@dataclass(frozen=True, slots=True)
class Turn:
    """Turn `number`: one question, or none any more, of each task."""

    number: int
    items: Mapping[str, Item] = field(default_factory=dict)


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
    """Asks all that is missing in `store`.

    `drop` is told after each turn how many are done and says which `config`s need not go on.
    """
    until = time.monotonic() + terms.seconds
    count, made_by = Count(), commit()
    turns = list(_turns(tasks))
    for turn in turns:
        models = plan.models if turn.number % 2 == 0 else tuple(reversed(plan.models))
        for model in models:
            asker = _Asker(model, store, terms, count, made_by)
            asker.families(plan.of_model(model), turn, until)
        say(f"turn {turn.number + 1} of {len(turns)}: {count.run} asked, {count.read_off} read off")
        if count.out_of_time:
            break
        plan = plan.without(drop(turn.number + 1))
    return count


def _turns(tasks: Mapping[str, Sequence[Item]]) -> Iterator[Turn]:
    for number in range(max(map(len, tasks.values()), default=0)):
        yield Turn(
            number, {name: all_[number] for name, all_ in tasks.items() if number < len(all_)}
        )


class _Asker:
    """Asks one model in one turn; opens it when something is missing."""

    def __init__(self, model: str, store: Store, terms: Terms, count: Count, made_by: str) -> None:
        self._model = model
        self._store = store
        self._terms = terms
        self._count = count
        self._commit = made_by

    def families(self, families: Sequence[Family], turn: Turn, until: float) -> None:
        missing = [
            (task, item, family)
            for task, item in turn.items.items()
            for family in (families if turn.number % 2 == 0 else reversed(families))
            if self._missing(family, task, item, turn)
        ]
        if not missing or time.monotonic() > until:
            self._count.out_of_time |= bool(missing)
            return
        setting = missing[0][2].run
        with Reasoner.open(
            self._model, threads=setting.threads, context=setting.context
        ) as reasoner:
            reasoner.ask("Hello", strategy="no-think", answer_budget=1)  # the first is slow
            for task, item, family in missing:
                if time.monotonic() > until:
                    self._count.out_of_time = True
                    return
                self._family(reasoner, family, task, item, turn)

    def _missing(self, family: Family, task: str, item: Item, turn: Turn) -> bool:
        wanted = [self._key(setting, task, item) for setting in family.settings]
        if turn.number < self._terms.check:
            wanted += [self._key(s, task, item, check=True) for s in family.read_off]
        return any(key not in self._store for key in wanted)

    def _key(
        self, setting: Setting, task: str, item: Item, *, check: bool = False
    ) -> tuple[str, str, str, int, str]:
        return _config(setting, check), task, item.id, self._terms.seed, self._terms.device

    def _family(
        self, reasoner: Reasoner, family: Family, task: str, item: Item, turn: Turn
    ) -> None:
        """The run first: what is read off it needs its tokens, which no trial keeps."""
        try:
            handle, trial = self._run(reasoner, family.run, task, item)
            self._store.append(trial)
            traced = _Traced(family, item, handle, trial)
            for setting in family.read_off:
                if self._key(setting, task, item) not in self._store:
                    self._store.append(self._read(reasoner, traced, setting))
                if turn.number < self._terms.check and (
                    self._key(setting, task, item, check=True) not in self._store
                ):
                    self._store.append(self._run(reasoner, setting, task, item, check=True)[1])
        except EdgereasonError as error:  # such as a prompt too long: others go on
            self._count.failed.setdefault(family.run.config, f"{error}")

    # -- running -----------------------------------------------------------------------------------

    def _run(
        self, reasoner: Reasoner, setting: Setting, task: str, item: Item, *, check: bool = False
    ) -> tuple[Handle, Trial]:
        meter, others = self._terms.meter, OthersMeter()
        if meter is not None:
            meter.start()
        keywords = {**setting.parsed.keywords, "think_budget": setting.budget}
        handle, answer, first_ms = _ask(
            reasoner, asked(item), setting, self._terms.seed, **keywords
        )
        joules = None if meter is None else meter.stop()
        self._count.run += 1
        made = self._trial(reasoner, setting, task, item, answer, check=check)
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
        setting: Setting,
        task: str,
        item: Item,
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
            task=task,
            question=item.id,
            seed=self._terms.seed,
            answer=answer.answer,
            right=is_right(item, answer.answer),
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

    def _read(self, reasoner: Reasoner, traced: _Traced, setting: Setting) -> Trial:
        """The trial of `setting`, off that of the family's run where that is certain."""
        read = self._ballot if traced.family.kind == "vote" else self._budget
        made = read(reasoner, traced, setting)
        if made is None:
            return self._run(reasoner, setting, traced.trial.task, traced.item)[1]
        self._count.read_off += 1
        return replace(made, source="read off", of=traced.family.run.way)

    def _ballot(self, reasoner: Reasoner, traced: _Traced, setting: Setting) -> Trial | None:
        trial, item = traced.trial, traced.item
        ballot = at_samples(traced.handle.chains, setting.parsed)
        if ballot is None:
            return None
        made = self._trial(reasoner, setting, trial.task, item, ballot.answer)
        return replace(  # its time is not known: fewer samples side by side are faster
            made,
            prompt_tokens=trial.prompt_tokens,
            reasoning_tokens=ballot.reasoning_tokens,
            answer_tokens=ballot.answer_tokens,
            peak_cells=trial.peak_cells,
            others_cores=trial.others_cores,
        )

    def _budget(self, reasoner: Reasoner, traced: _Traced, setting: Setting) -> Trial | None:
        trial, item, bundle = traced.trial, traced.item, reasoner.bundle
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
            reasoner, asked(item), setting, self._terms.seed, **thought, think_budget=0
        )
        made = self._trial(reasoner, setting, trial.task, item, answer)
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

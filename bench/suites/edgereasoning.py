"""EdgeReasoning's list of experiments on your model: budgets told and forced, votes, formats.

2511.01866 asked DeepSeek-R1-Distill on a Jetson AGX Orin. The same is asked of `--model` here, and
what they published stands beside it. Their questions are of MMLU-Redux, so trends can be compared,
figures cannot. `--record FILE` keeps each answer at once; the same command goes on with it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any, Final, TypeAlias

from edgereason.errors import UsageError
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import Question, gsm8k, read_questions
from ..harness.record import Record
from ..harness.runner import Bench, Findings, Say, Table, open_warm, wilson
from ..harness.speed import STORY, stay_on
from ..harness.ways import Way, parse
from ..pareto.traces import at_samples
from ..rivals import edgereasoning as published
from ..rivals.edgereasoning import BASE, NO_REASONING
from .ways import difference, told

_ASKED_FOR: Final = "\n\nPlease limit your answer to {} tokens at most."  # their words
_TEMPERATURE: Final = 0.6
_TOP_P: Final = 0.95
_BLOCK: Final = 4  # questions, before the next file is opened


@dataclass(frozen=True, slots=True)
class Setting:
    """A way of asking. `asks_for`: tokens that the question asks the model to stay within."""

    name: str
    way: Way
    asks_for: int = 0

    @property
    def is_hard(self) -> bool:
        return self.way.budget > 0


@dataclass(frozen=True, slots=True)
class Row:
    """One question, one setting. `seconds` is None where it was read off a larger vote."""

    asked: str  # model, limits, seed: rows of one table have the same
    setting: str
    question: str
    right: bool
    tokens: int
    seconds: float | None
    answer: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.asked, self.setting, self.question


Rows: TypeAlias = Mapping[str, Mapping[str, Row]]  # by setting and question


def settings(budgets: Sequence[int]) -> list[Setting]:
    """Told is their sentence alone, hard the sentence and the cut, cut the cut alone."""
    found = [Setting(BASE, parse("think")), Setting(NO_REASONING, parse("no-think"))]
    for budget in budgets:
        cut = parse(f"think:{budget}")
        found += [
            Setting(f"told {budget}", parse("think"), budget),
            Setting(f"hard {budget}", cut, budget),
            Setting(f"cut {budget}", cut),
        ]
    return found


def vote_of(samples: int, budget: int) -> Way:
    return Way("vote", budget, options={"samples": samples, "early_stop": False})


def votes(most: int) -> list[int]:
    """1, 2, 4 ... and `most` itself."""
    return sorted({most, *(2**n for n in range(most.bit_length()))})


def measure(options: argparse.Namespace, say: Say) -> Findings:
    if options.samples < 1:
        raise UsageError(f"--samples must be 1 or more, got {options.samples}")
    line = options.vote_budget + options.short_answer
    options.context = max(options.context, 1024 + options.samples * line)
    questions = read_questions(options.questions or gsm8k(), options.num)
    files = [options.model, *options.formats]
    record = Record(options.record, lambda kept: Row(**kept))
    until = time.monotonic() + 60 * options.minutes
    _time_samples(options, record, say)
    askers = [_Asker(options, file, number == 0, record) for number, file in enumerate(files)]
    _ask_all(askers, questions, until, say)
    whole = _whole(askers, questions)
    if not whole:
        raise UsageError(
            "no question was asked in every way", "give more --minutes, or the --record of before"
        )
    return findings(options, files, whole, record)


# --- asking ---------------------------------------------------------------------------------------


def _ask_all(
    askers: Sequence[_Asker], questions: Sequence[Question], until: float, say: Say
) -> None:
    """Block by block, the files forwards and backwards."""
    for begin in range(0, len(questions), _BLOCK):
        for asker in askers if begin // _BLOCK % 2 == 0 else reversed(askers):
            with closing(asker):
                for number in range(begin, min(begin + _BLOCK, len(questions))):
                    question = questions[number]
                    if asker.lacks(question):
                        if time.monotonic() > until:
                            return
                        asker.ask(question, number)
                        say(f"{asker.name}: question {number + 1} of {len(questions)}")


def _whole(askers: Sequence[_Asker], questions: Sequence[Question]) -> list[str]:
    """Texts of those that every file was asked in every way."""
    return [each.text for each in questions if not any(one.lacks(each) for one in askers)]


class _Asker:
    """Asks one file; opens it when something is missing. Other formats get no votes, and only what
    shows their loss."""

    def __init__(
        self, options: argparse.Namespace, file: str, is_first: bool, record: Record[Row]
    ) -> None:
        self.name = Path(file).name
        self._options = options
        self._file = file
        self._record = record
        self._asked = asked(options, file)
        self._votes = votes(options.samples) if is_first else []
        every = settings(options.budgets)
        self._settings = every if is_first else every[:2]
        self._reasoner: Reasoner | None = None

    def close(self) -> None:
        if self._reasoner is not None:
            self._reasoner.close()
            self._reasoner = None

    def lacks(self, question: Question) -> bool:
        return any(self._lacks(name, question) for name in self._names())

    def ask(self, question: Question, number: int) -> None:
        """The seed is the question's, so that it is the same after a cut."""
        seed = self._options.seed + 1000 * number
        for setting in self._settings if number % 2 == 0 else reversed(self._settings):
            if self._lacks(setting.name, question):
                self._one(setting, question, seed)
        if any(self._lacks(_ballots(num), question) for num in self._votes):
            self._vote(question, seed)

    def _names(self) -> Iterator[str]:
        yield from (setting.name for setting in self._settings)
        yield from map(_ballots, self._votes)

    def _lacks(self, name: str, question: Question) -> bool:
        return (self._asked, name, question.text) not in self._record

    @property
    def _open(self) -> Reasoner:
        if self._reasoner is None:
            self._reasoner = _opened(self._options, self._file)
        return self._reasoner

    def _one(self, setting: Setting, question: Question, seed: int) -> None:
        options, way, reasoner = self._options, setting.way, self._open
        text = question.text
        if setting.asks_for:
            text += _ASKED_FOR.format(setting.asks_for)
        begin = time.monotonic()
        answer = reasoner.ask(
            text,
            strategy=way.strategy,
            think_budget=way.budget if setting.is_hard else options.think_limit,
            answer_budget=options.short_answer if setting.is_hard else options.answer_budget,
            soft=1.0,
            sampling=_sampling(seed),
        )
        seconds = time.monotonic() - begin
        tokens = answer.usage.reasoning_tokens + answer.usage.answer_tokens
        self._keep(setting.name, question, answer.answer, tokens, seconds)

    def _vote(self, question: Question, seed: int) -> None:
        """Smaller votes are the first samples of the largest: all are written to their ends."""
        options, way = self._options, vote_of(max(self._votes), self._options.vote_budget)
        reasoner = self._open
        begin = time.monotonic()
        handle = reasoner.submit(
            question.text,
            **way.keywords,
            answer_budget=options.short_answer,
            soft=1.0,
            sampling=_sampling(seed),
        )
        handle.result()
        seconds = time.monotonic() - begin
        for num in self._votes:
            ballot = at_samples(
                handle.chains, replace(way, options={**way.options, "samples": num})
            )
            if ballot is None:
                raise UsageError(f"a sample of {question.text[:40]!r} did not come to its end")
            tokens = ballot.reasoning_tokens + ballot.answer_tokens
            taken = seconds if num == max(self._votes) else None
            self._keep(_ballots(num), question, ballot.answer.answer, tokens, taken)

    def _keep(
        self, name: str, question: Question, answer: str, tokens: int, seconds: float | None
    ) -> None:
        right = question.is_right(answer)
        self._record.add(
            Row(self._asked, name, question.text, right, tokens, seconds, answer[:200])
        )


def asked(options: argparse.Namespace, file: str) -> str:
    return (
        f"{Path(file).name}, thinking {options.think_limit}, answer {options.answer_budget}, "
        f"{options.short_answer} where cut, votes {options.vote_budget}, "
        f"seed {options.seed}, threads {options.threads}"
    )


def _ballots(samples: int) -> str:
    return f"vote {samples}"


def _sampling(seed: int) -> Sampling:
    return Sampling(temperature=_TEMPERATURE, top_p=_TOP_P, seed=seed)


def _opened(options: argparse.Namespace, file: str) -> Reasoner:
    return open_warm(file, options.threads, options.context)


def _time_samples(options: argparse.Namespace, record: Record[Row], say: Say) -> None:
    """So many samples side by side, each of exactly `--vote-budget` tokens, in turns."""
    name = asked(options, options.model)
    order = votes(options.samples)
    missing = [
        (num, turn)
        for turn in range(options.latency_turns)
        for num in (order if turn % 2 == 0 else reversed(order))
        if (name, _side_by_side(num), f"turn {turn}") not in record
    ]
    if not missing:
        return
    with _opened(options, options.model) as reasoner:
        for num, turn in missing:
            sampling = replace(stay_on(reasoner, turn, _TEMPERATURE), top_p=_TOP_P)
            begin = time.monotonic()
            answer = reasoner.ask(
                STORY,
                **vote_of(num, 0).keywords,
                answer_budget=options.vote_budget,
                sampling=sampling,
            )
            seconds, tokens = time.monotonic() - begin, answer.usage.answer_tokens
            record.add(Row(name, _side_by_side(num), f"turn {turn}", False, tokens, seconds))
            say(f"turn {turn + 1} of {options.latency_turns}: {num} samples, {seconds:.1f} s")


def _side_by_side(samples: int) -> str:
    return f"{samples} side by side"


# --- tables ---------------------------------------------------------------------------------------


def findings(
    options: argparse.Namespace, files: Sequence[str], texts: Sequence[str], record: Record[Row]
) -> Findings:
    """Of the questions `texts`, which all settings were asked."""
    by_file = [_rows(asked(options, file), texts, record) for file in files]
    first = by_file[0]
    names = [setting.name for setting in settings(options.budgets)]
    budgets = {name: _figures(first[name], first[BASE]) for name in names}
    ballots = [_ballots(num) for num in votes(options.samples)]
    parallel = {name: _figures(first[name], first[_ballots(1)]) for name in ballots}
    side = _latencies(options, record)
    formats = {
        Path(file).name: {name: _figures(rows[name], first[name]) for name in (BASE, NO_REASONING)}
        for file, rows in zip(files, by_file, strict=True)
    }
    tables = [
        _shares(f"Budgets: {len(texts)} questions", budgets, BASE),
        published.budgets_beside({name: each["tokens"] for name, each in budgets.items()}),
        _shares(f"Votes, thinking {options.vote_budget} tokens each", parallel, _ballots(1)),
        published.votes(),
    ]
    if side:
        tables.append(published.samples_beside(side, options.vote_budget))
    if len(files) > 1:
        flat = {
            f"{file}: {name}": told for file, own in formats.items() for name, told in own.items()
        }
        tables.append(_shares("Formats", flat, f"{Path(files[0]).name}, the same way"))
    figures = {"num": len(texts), "budgets": budgets, "votes": parallel, "side_by_side_s": side}
    remarks = _remarks(options, budgets, side)
    return Findings({**figures, "formats": formats}, tuple(tables), remarks)


def _rows(name: str, texts: Sequence[str], record: Record[Row]) -> Rows:
    wanted = set(texts)
    found: dict[str, dict[str, Row]] = {}
    for row in record:
        if row.asked == name and row.question in wanted:
            found.setdefault(row.setting, {})[row.question] = row
    return found


def _figures(own: Mapping[str, Row], base: Mapping[str, Row]) -> dict[str, Any]:
    right, num = sum(row.right for row in own.values()), len(own)
    times = [row.seconds for row in own.values() if row.seconds is not None]
    return {
        "right": right,
        "num": num,
        "interval": wilson(right, num),
        "tokens": mean(row.tokens for row in own.values()),
        "seconds": mean(times) if times else None,
        "difference": difference(base, own),
    }


def _latencies(options: argparse.Namespace, record: Record[Row]) -> dict[int, float]:
    """Seconds by number of samples: the median of the turns."""
    name = asked(options, options.model)
    found: dict[int, float] = {}
    for num in votes(options.samples):
        times = [
            row.seconds
            for row in record
            if (row.asked, row.setting) == (name, _side_by_side(num)) and row.seconds is not None
        ]
        if times:
            found[num] = median(times)
    return found


def _shares(title: str, all_figures: Mapping[str, Mapping[str, Any]], base: str) -> Table:
    columns = ("", "right", "of", "interval", "tokens", "seconds", f"points to {base}")
    rows = []
    for name, each in all_figures.items():
        low, high = each["interval"]
        apart = each["difference"]
        rows.append((
            name, each["right"], each["num"], f"{100 * low:.1f} to {100 * high:.1f} %",
            each["tokens"], each["seconds"], apart["points"], apart["low"], apart["high"],
            "-" if name == base else told(apart),
        ))  # fmt: skip
    return Table(title, (*columns, "low", "high", "so"), rows)


def _remarks(
    options: argparse.Namespace, budgets: Mapping[str, Mapping[str, Any]], side: Mapping[int, float]
) -> tuple[str, ...]:
    said = [
        f"Temperature {_TEMPERATURE}, top-p {_TOP_P}. No budget is {options.think_limit} tokens of "
        f"thinking here. Told: the question asks for so many tokens. Hard: it asks, and is cut. "
        f"Cut: it is cut and never told; {options.short_answer} tokens of answer after a cut.",
        "Smaller votes are read off the largest: their time was not measured.",
        "Theirs: 2511.01866 and github.com/edge-inference/edgereasoning (e74ca1e).",
    ]
    for budget in options.budgets:
        tokens = budgets[f"told {budget}"]["tokens"] / max(1, budgets[BASE]["tokens"])
        shares = [f"{share:.2f}" for share in published.shares(f"told {budget}")]
        if shares:
            said.append(
                f"Told {budget}, it writes {tokens:.2f} of its tokens; theirs {', '.join(shares)} "
                f"({', '.join(published.MODELS)})."
            )
    if len(side) > 1:
        most = 32 if 32 in side else max(side)
        said.append(
            f"{most} samples take {side[most] / side[min(side)]:.2f} times as long as one; "
            "theirs 2.39 (1.5B) and 2.28 (8B) times for 32."
        )
    return tuple(said)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", type=Path, help="JSON lines; default GSM8K's test rows")
    parser.add_argument("--num", type=int, default=100, help="questions of the file")
    parser.add_argument("--minutes", type=float, default=1e9, help="no question is begun later")
    parser.add_argument("--budgets", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--samples", type=int, default=64, help="of the largest vote")
    parser.add_argument("--vote-budget", type=int, default=128, help="thinking tokens of a sample")
    parser.add_argument("--formats", nargs="*", default=[], help="the same model in other formats")
    parser.add_argument("--think-limit", type=int, default=1024, help="thinking without a budget")
    parser.add_argument("--answer-budget", type=int, default=256)
    parser.add_argument("--short-answer", type=int, default=32, help="answer tokens after a cut")
    parser.add_argument("--latency-turns", type=int, default=3, help="0: no table of latency")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--record", type=Path, help="JSON lines to keep, and to go on from")


BENCH = Bench("edgereasoning", __doc__.splitlines()[0], _add_options, measure)

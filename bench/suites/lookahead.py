"""Tokens guessed from the text so far: is any token another, and what does guessing gain?

The same raw prompts of three kinds, greedily: a text that is copied, a list of like records that
goes on, free prose. Prompt by prompt, with guesses (`--lookahead`, `--draft`) and without, in
turns; then eight at once. With `--llama-server` that server is asked the same, with and without its
own guesses (`--spec-type ngram-simple`, as many tokens, behind as few), and each gain is that over
itself.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.records import PhaseResult
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions, word_problem
from ..harness.runner import Bench, Findings, Say, Table
from ..harness.speed import stay_on
from ..rivals.servers import Program, llama_server, started

_LEAST_MATCH: Final = 3  # tokens, as ours
_SIDE_BY_SIDE: Final = 8
_COLUMNS: Final = (
    *("text", "prompts", "same tokens", "tokens/s without", "with", "gain"),
    *("lowest", "highest", "guessed a token", "of them right"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt, with guesses and without."""

    kind: str
    same: bool
    plain: float  # tokens a second
    ahead: float
    num_tokens: int = 0
    num_drafted: int = 0
    num_accepted: int = 0

    @property
    def gain(self) -> float:
        return self.ahead / self.plain


def prompts(num: int, seed: int) -> Iterator[tuple[str, str]]:
    """Kind and text, the kinds in turn."""
    random_ = random.Random(seed)
    makers: Mapping[str, Callable[[random.Random], str]] = {
        "copied": _copied,
        "records": _records,
        "prose": lambda random_: random_.choice(open_questions()) + "\n\n",
    }
    for index in range(num):
        kind = list(makers)[index % len(makers)]
        yield kind, makers[kind](random_)


def _copied(random_: random.Random) -> str:
    text = " ".join(word_problem(random_).text for _ in range(2))
    return f"A text:\n{text}\n\nThe same text, word for word:\n{text[: len(text) // 8]}"


def _records(random_: random.Random) -> str:
    names = random_.sample(("box", "crate", "bag", "barrel", "can", "jar", "chest", "drum"), 4)
    lines = [
        json.dumps(
            {"name": name, "weight_kg": random_.randrange(1, 90), "fragile": bool(index % 2)}
        )
        for index, name in enumerate(names)
    ]
    return "What lies on the shelf, one JSON object a line:\n" + "\n".join(lines) + "\n"


def measure(options: argparse.Namespace, say: Say) -> Findings:
    asked = list(prompts(options.prompts, options.seed))
    with ExitStack() as stack:
        plain, ahead = (
            stack.enter_context(
                Reasoner.open(
                    options.model,
                    threads=options.threads,
                    context=options.context,
                    lookahead=lookahead,
                    draft=draft,
                )
            )
            for lookahead, draft in ((0, ""), (options.lookahead, options.draft))
        )
        say("ours")
        pairs = _pairs(plain, ahead, asked, options)
        say(f"ours, {_SIDE_BY_SIDE} side by side")
        crowd = _crowd(plain, ahead, asked, options)
    theirs = []
    if options.llama_server is not None:
        say("llama-server")
        theirs = _theirs(asked, options)
    return findings(pairs, crowd, theirs)


def _pairs(
    plain: Reasoner, ahead: Reasoner, asked: Sequence[tuple[str, str]], options: argparse.Namespace
) -> list[Pair]:
    for reasoner in (plain, ahead):
        _answers(reasoner, ["Once"], 8)
    found = []
    for index, (kind, text) in enumerate(asked):
        systems = [plain, ahead]
        if index % 2:
            systems.reverse()
        results = {system: _answers(system, [text], options.decode)[0] for system in systems}
        found.append(_pair(kind, results[plain], results[ahead]))
    return found


def _crowd(
    plain: Reasoner, ahead: Reasoner, asked: Sequence[tuple[str, str]], options: argparse.Namespace
) -> list[Pair]:
    """As `_pairs`, of copies alone, where guesses are right, so many at once."""
    texts = [text for kind, text in asked if kind == "copied"]
    found = []
    for start in range(0, len(texts) - _SIDE_BY_SIDE + 1, _SIDE_BY_SIDE):
        batch = texts[start : start + _SIDE_BY_SIDE]
        one, two = (_answers(each, batch, options.decode) for each in (plain, ahead))
        pairs = zip(one, two, strict=True)
        found += [replace(_pair("copied", *pair), kind=f"{_SIDE_BY_SIDE} copies") for pair in pairs]
    return found


def _answers(reasoner: Reasoner, texts: Sequence[str], num: int) -> list[PhaseResult]:
    greedy = stay_on(reasoner)
    handles = [
        reasoner.submit(text, strategy="raw", answer_budget=num, sampling=greedy) for text in texts
    ]
    for handle in handles:
        handle.result()
    return [handle.chains[0][-1] for handle in handles]


def _pair(kind: str, plain: PhaseResult, ahead: PhaseResult) -> Pair:
    one, two = (1000 * (each.num_tokens - 1) / each.decode_ms for each in (plain, ahead))
    return Pair(
        kind,
        plain.tokens == ahead.tokens,
        one,
        two,
        ahead.num_tokens,
        ahead.num_drafted,
        ahead.num_accepted,
    )


def _theirs(asked: Sequence[tuple[str, str]], options: argparse.Namespace) -> list[Pair]:
    bundle = open_bundle(resolve(options.model))
    shared = (options.threads, options.context, 1)
    program = llama_server(options.llama_server, model_file(bundle), *shared)
    guessing = (
        *("--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", str(_LEAST_MATCH)),
        *("--spec-ngram-simple-size-m", str(options.lookahead)),
    )
    programs = (program, Program(f"{program.name}, guessing", (*program.command, *guessing)))
    with started(programs[0]) as plain, started(programs[1]) as ahead:
        without = plain.single_tokens(bundle.control_tokens)
        for server in (plain, ahead):
            server.complete("Once", 8, without)
        found = []
        for index, (kind, text) in enumerate(asked):
            servers = [plain, ahead]
            if index % 2:
                servers.reverse()
            replies = {s.port: s.complete(text, options.decode, without) for s in servers}
            one, two = replies[plain.port], replies[ahead.port]
            same = one.text == two.text
            found.append(Pair(kind, same, one.tokens_per_s, two.tokens_per_s, two.num_tokens))
        return found


def findings(
    pairs: Sequence[Pair], crowd: Sequence[Pair] = (), theirs: Sequence[Pair] = ()
) -> Findings:
    tables = [Table("Ours", _COLUMNS, [_row(*group) for group in _by_kind([*pairs, *crowd])])]
    figures: dict[str, Any] = {
        kind: {"gain": median(one.gain for one in own), "same": sum(one.same for one in own)}
        for kind, own in _by_kind([*pairs, *crowd])
    }
    if theirs:
        rows = [_row(*group)[:8] for group in _by_kind(theirs)]
        tables.append(Table("llama-server, ngram-simple", _COLUMNS[:8], rows))
        figures["llama-server"] = {
            kind: median(one.gain for one in own) for kind, own in _by_kind(theirs)
        }
    return Findings(figures, tuple(tables))


def _by_kind(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return [(kind, [pair for pair in pairs if pair.kind == kind]) for kind in kinds]


def _row(kind: str, own: Sequence[Pair]) -> tuple[Any, ...]:
    gains = [pair.gain for pair in own]
    drafted = sum(pair.num_drafted for pair in own)
    return (
        *(kind, len(own), f"{sum(pair.same for pair in own)} of {len(own)}"),
        *(median(pair.plain for pair in own), median(pair.ahead for pair in own)),
        *(median(gains), min(gains), max(gains)),
        drafted / sum(pair.num_tokens for pair in own),
        sum(pair.num_accepted for pair in own) / drafted if drafted else 0.0,
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lookahead", type=int, default=7, help="tokens guessed a step, at most")
    parser.add_argument("--draft", default="", help="a smaller model that guesses as well")
    parser.add_argument("--threads", type=int, default=1, help="of every system")
    parser.add_argument("--prompts", type=int, default=99, help="of all kinds together")
    parser.add_argument("--decode", type=int, default=128, help="new tokens")
    parser.add_argument("--llama-server", type=Path, help="the program, to be asked as well")


BENCH = Bench("lookahead", __doc__.splitlines()[0], _add_options, measure)

"""How a request was answered: its lines of thought as a tree, as text and as a page.

    answer = reasoner.ask("What is 17 * 3?", strategy="vote", explain=True)
    print(as_text(answer))

Knows nothing but the answer: whoever has its JSON can make the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from edgereason.errors import UsageError
from edgereason.records import Answer, ChainReport, PhaseReport

_MOST_SHOWN: Final = 60  # characters of an answer in the tree

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em; max-width: 60em }}
ul {{ list-style: none; border-left: 1px solid #bbb; padding-left: 1.2em }}
table {{ border-collapse: collapse; margin: .3em 0 1em }}
td, th {{ padding: .1em .8em .1em 0; text-align: left; font-variant-numeric: tabular-nums }}
.given-up {{ color: #888 }}
</style>
<h1>{title}</h1><p>{summary}</p>
{tree}
</html>
"""


def as_text(answer: Answer) -> str:
    """A line for each line of thought, its phases below, children indented.

    Raises `UsageError` where the request did not ask to explain.
    """
    chains = _chains(answer)
    return "\n".join(_lines(chains, 0, ""))


def as_page(answer: Answer) -> str:
    """The same as an HTML page that needs nothing else."""
    chains = _chains(answer)
    title = escape(f"{answer.strategy} on {answer.model}")
    summary = escape(f"{answer.answer} ({answer.timings.total_ms:.0f} ms)")
    tree = f"<ul>{_item(chains, 0)}</ul>"
    return _PAGE.format(title=title, summary=summary, tree=tree)


def _chains(answer: Answer) -> tuple[ChainReport, ...]:
    if not answer.chains:
        raise UsageError("this answer is not explained", "ask with explain=True")
    return answer.chains


def _children(chains: Sequence[ChainReport], place: int) -> list[int]:
    return [i for i, chain in enumerate(chains) if chain.parent == place]


def _lines(chains: Sequence[ChainReport], place: int, indent: str) -> Iterator[str]:
    chain = chains[place]
    yield f"{indent}{_head(chain, place)}"
    width = max((len(phase.name) for phase in chain.phases), default=0)
    for phase in chain.phases:
        yield f"{indent}    {phase.name:<{width}}  {_told(phase)}"
    for child in _children(chains, place):
        yield from _lines(chains, child, indent + "    ")


def _head(chain: ChainReport, place: int) -> str:
    said = " ".join(chain.answer.split())
    said = f"{said[:_MOST_SHOWN]}..." if len(said) > _MOST_SHOWN else said
    sure = "" if chain.confidence is None else f", confidence {chain.confidence:.2f}"
    cached = f", {chain.cached_tokens} of them cached" if chain.cached_tokens else ""
    return (
        f"{place}: {said!r}, ended by {chain.ended_by}{sure}, "
        f"{chain.prompt_tokens} prompt tokens{cached}"
    )


def _told(phase: PhaseReport) -> str:
    return f"{phase.role}, {phase.tokens} tokens, {phase.ms:.0f} ms, ended by {phase.reason}"


def _item(chains: Sequence[ChainReport], place: int) -> str:
    chain = chains[place]
    kind = ' class="given-up"' if chain.ended_by == "given up" else ""
    rows = "".join(
        f"<tr><td>{escape(phase.name)}<td>{phase.role}<td>{phase.tokens} tokens"
        f"<td>{phase.ms:.0f} ms<td>{phase.reason}"
        for phase in chain.phases
    )
    below = "".join(_item(chains, child) for child in _children(chains, place))
    inside = f"<ul>{below}</ul>" if below else ""
    return f"<li{kind}>{escape(_head(chain, place))}<table>{rows}</table>{inside}</li>"


__all__ = ["as_page", "as_text"]

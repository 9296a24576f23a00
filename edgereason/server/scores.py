"""Log-probabilities of tokens, as the dialects of OpenAI's have them. They are natural logarithms,
of what the model gave before temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from edgereason.records import Role
from edgereason.server.fields import Given, bad
from edgereason.server.running import Running

_NEVER: Final = -9999.0  # JSON has no infinity; the official clients take this for it

Score = tuple[int, float]


def num_scores(given: Given) -> int:
    """How many alternatives chat completions are to tell beside each token; -1: no scores."""
    top = given.get("top_scores")
    if given.get("scores") is not True:
        if top:
            raise bad("logprobs", f"true where {given.name('top_scores')} is given", False)
        return -1
    return int(top or 0)


def answer_scores(running: Running) -> list[Sequence[Score]]:
    """Of each token of the answer: itself, then the likeliest."""
    results = [r for line in running.handle.chains[:1] for r in line if r.role is Role.ANSWER]
    scores = results[-1].token_scores if results else ()
    return _cut(scores, running.request.logprobs + 1)


def prompt_scores(running: Running) -> list[Sequence[Score]]:
    """The same of each token of a prompt that was scored, from its second on."""
    results = running.handle.chains[0][:1]
    scores = results[0].prompt_scores if results else ()
    return _cut(scores, max(running.request.logprobs, 0) + 1)


def _cut(scores: Sequence[Score], width: int) -> list[Sequence[Score]]:
    return [scores[at : at + width] for at in range(0, len(scores), width)] if width else []


def chat_logprobs(running: Running) -> dict[str, Any] | None:
    if running.request.logprobs < 0:
        return None
    content = [
        {**_entry(running, *own), "top_logprobs": [_entry(running, *one) for one in top]}
        for own, *top in answer_scores(running)
    ]
    return {"content": content, "refusal": None}


def answer_entries(running: Running) -> list[dict[str, Any]]:
    """Each token of the answer as llama.cpp's server tells it."""
    return [
        {
            **_identified(running, *own),
            "top_logprobs": [_identified(running, *one) for one in top],
        }
        for own, *top in answer_scores(running)
    ]


def _identified(running: Running, token: int, logprob: float) -> dict[str, Any]:
    return {"id": token, **_entry(running, token, logprob)}


def _entry(running: Running, token: int, logprob: float) -> dict[str, Any]:
    piece = running.piece(token)
    said = piece.decode(errors="replace")
    return {"token": said, "logprob": max(logprob, _NEVER), "bytes": list(piece)}


def completion_logprobs(
    running: Running, prompt: Sequence[int], num_top: int
) -> dict[str, Any] | None:
    """`prompt`: the tokens that are told before the answer's; none without `echo`."""
    rows: list[Sequence[Score] | None] = [None] if prompt else []
    if prompt:
        rows += prompt_scores(running)
    rows += answer_scores(running)
    tokens = [*prompt[:1], *(row[0][0] for row in rows if row is not None)]
    texts = [running.piece(token).decode(errors="replace") for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [None if row is None else max(row[0][1], _NEVER) for row in rows],
        "top_logprobs": [None if row is None else _top(running, row, num_top) for row in rows],
        "text_offset": list(_offsets(texts)),
    }


def _top(running: Running, row: Sequence[Score], num_top: int) -> dict[str, float]:
    """The likeliest, and the token itself, as there."""
    found: dict[str, float] = {}
    for token, logprob in (*row[1 : 1 + num_top], row[0]):
        said = running.piece(token).decode(errors="replace")
        found.setdefault(said, max(logprob, _NEVER))
    return found


def _offsets(texts: Sequence[str]) -> Iterator[int]:
    return accumulate(map(len, texts[:-1]), initial=0) if texts else iter(())

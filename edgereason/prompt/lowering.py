"""From phases as strategies write them (text) to phases as the core runs them (tokens).

The only place where prompt text becomes tokens. Knows no model: it is handed a `Tokenizer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Final, Protocol

from edgereason.errors import ContextFullError, UsageError
from edgereason.records import Phase, Segment

FIELDS: Final = tuple(field.name for field in fields(Phase) if field.name not in ("name", "then"))
"""What the core knows of a phase; a test holds it against the core's own list."""


_NO_WORD: Final = "\x02"  # no vocabulary has it but as a byte, so it joins nothing


class Tokenizer(Protocol):
    """What an open engine offers. Thread-safe."""

    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        """Token ids; names of control tokens become those tokens only with `parse_control`."""
        ...

    @property
    def most_bytes(self) -> int:
        """Of a text that may fit into the context: a longer one has more tokens than that."""
        ...

    @property
    def bos(self) -> int | None: ...

    @property
    def add_bos(self) -> bool:
        """Every prompt starts with `bos`, also where the template does not write it."""
        ...


class CorePhase(SimpleNamespace):
    """A phase as the core takes it: the fields of `Phase` in `phase.h`, by name. Texts have become
    token ids or bytes, all else is as in `records.Phase`.
    """


def prompt_tokens(segments: Sequence[Segment], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a rendered prompt; only control segments may give control tokens.

    Raises `ContextFullError` where a prompt is too long for the context whatever its tokens are:
    before it is tokenized, which takes time and memory.
    """
    num_bytes = sum(len(segment.text.encode(errors="surrogatepass")) for segment in segments)
    if num_bytes > tokenizer.most_bytes:
        raise ContextFullError(
            f"the prompt has {num_bytes} bytes, the context holds {tokenizer.most_bytes} at most",
            "shorten the prompt, or open the model with a larger context",
        )
    tokens = _segment_tokens(segments, tokenizer)
    if tokenizer.add_bos and tokenizer.bos is not None and tokens[:1] != [tokenizer.bos]:
        tokens.insert(0, tokenizer.bos)
    return tuple(tokens)


def _segment_tokens(
    segments: Sequence[Segment], tokenizer: Tokenizer, *, goes_on: bool = False
) -> list[int]:
    """`goes_on`: other text stands before the first of them."""
    tokens: list[int] = []
    for segment in segments:
        behind = goes_on or bool(tokens)
        tokens += _tokens_of(segment.text, tokenizer, segment.control, behind)
    return tokens


def _tokens_of(text: str, tokenizer: Tokenizer, control: bool, goes_on: bool) -> list[int]:
    """Vocabularies of SentencePiece put a blank before any text they are given, which belongs to
    the start of a prompt alone: elsewhere the model would not have written it.
    """
    before = tokenizer.tokenize(_NO_WORD) if goes_on else []
    if len(before) == 2:  # the blank, and the character
        tokens = tokenizer.tokenize(_NO_WORD + text, parse_control=control)
        if tokens[:2] == before:
            return tokens[2:]
    return tokenizer.tokenize(text, parse_control=control)


class Vocabulary(Protocol):
    """What an open engine tells of its tokens."""

    @property
    def info(self) -> dict[str, int]: ...

    def piece(self, token: int) -> bytes: ...


class Words:
    """Finds tokens by the word that they are. The vocabulary is read when it is first asked."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._found: dict[tuple[str, ...], tuple[int, ...]] = {}

    def __call__(self, words: Sequence[str]) -> tuple[int, ...]:
        """Whole words only, in any case, with or without a blank before: "now" finds " Now" and
        not "know".
        """
        wanted = tuple(sorted({word.casefold() for word in words}))
        if wanted not in self._found:
            bare = {word.encode() for word in wanted}
            num_vocab = self._vocabulary.info["num_vocab"]
            pieces = map(self._vocabulary.piece, range(num_vocab))
            self._found[wanted] = tuple(
                token for token, piece in enumerate(pieces) if piece.strip().lower() in bare
            )
        return self._found[wanted]


def _prompt(fresh: Sequence[Segment] | Sequence[int], tokenizer: Tokenizer) -> tuple[int, ...]:
    tokens = tuple(each for each in fresh if not isinstance(each, Segment))
    if tokens:
        return tokens
    return prompt_tokens([each for each in fresh if isinstance(each, Segment)], tokenizer)


def text_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> str | None:
    """What tokens are as text; None where they end within a character."""
    try:
        return b"".join(map(vocabulary.piece, tokens)).decode()
    except UnicodeDecodeError:
        return None


def chain_of(phase: Phase) -> list[Phase]:
    """The phase and those that follow it by themselves."""
    chain = [phase]
    while chain[-1].then is not None:
        chain.append(chain[-1].then)
    return chain


def lower(phase: Phase, tokenizer: Tokenizer) -> list[CorePhase]:
    """The whole chain of `phase`, for `Scheduler.run`; a grammar is yet to be compiled."""
    return [_lower_one(each, tokenizer) for each in chain_of(phase)]


def _lower_one(phase: Phase, tokenizer: Tokenizer) -> CorePhase:
    def ids(text: str | tuple[Segment, ...]) -> tuple[int, ...]:
        segments = (Segment(text),) if isinstance(text, str) else text
        return tuple(
            _segment_tokens([each for each in segments if each.text], tokenizer, goes_on=True)
        )

    def raw(texts: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in texts)

    lowered = {name: getattr(phase, name) for name in FIELDS}
    if phase.fresh is not None:
        lowered["fresh"] = _prompt(phase.fresh, tokenizer)
    for name in ("force", "close"):
        lowered[name] = ids(lowered[name])
    for name in ("open", "shut", "call", "stop"):
        # Where a grammar says how the answer ends, a mark in it is text like any other.
        lowered[name] = () if phase.grammar else raw(lowered[name])
    lowered["score"] = _first_tokens(phase.score, tokenizer)
    if phase.probe is not None:
        rule = {field.name: getattr(phase.probe, field.name) for field in fields(phase.probe)}
        lowered["probe"] = SimpleNamespace(**rule | {"cue": ids(phase.probe.cue)})
    return CorePhase(**lowered)


def _first_tokens(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """What tells the texts apart. Raises `UsageError` where they begin alike, or are empty."""
    tokens = [tuple(_tokens_of(text, tokenizer, control=False, goes_on=True))[:1] for text in texts]
    if () in tokens or len(set(tokens)) < len(tokens):
        raise UsageError(
            f"texts that are scored must begin with different tokens, got {', '.join(texts)}"
        )
    return tuple(token for (token,) in tokens)

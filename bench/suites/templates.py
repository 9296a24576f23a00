"""A folder of chat templates: what is found in each, where its prompts leave the model, and whether
any text gets a control token through.

Where a prompt ends is compared with a second way of reading it: of all that stands behind the last
message, the last mark counts. What is found is compared with `--verdicts`: what somebody said who
read the template's prompts. Templates are named by a hash of their text, so that none is copied.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason.errors import BundleError, EdgereasonError, UsageError
from edgereason.models.bundle import Bundle, guarded_texts
from edgereason.prompt.chat import render, thinking_prompt
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.reasoning import UNCLEAR, Kind
from edgereason.prompt.template import literals_of
from edgereason.records import Message, Segment, ToolCall

from ..harness.runner import Bench, Findings, Say, Table

_TOKEN: Final = re.compile(
    r"<[|\uff5c][^<>|\uff5c\s]{1,40}[|\uff5c]>|</?[a-z_:]{3,20}>|\[/?[A-Z_]{3,20}\]|<\|?[a-z_]+\|?>"
)
_GUARD: Final = re.compile("[\U000f0000-\U000f000f]|u000f000|udb80|f3%b0", re.IGNORECASE)
_BOS: Final = "<s>"
_EOS: Final = "</s>"
_OUTCOMES: Final = ("rendered", "refused", "not taken", "tokens", "guards")
PLACES: Final = ("message", "system", "tool", "document", "name")


def _said(text: str, reasoning: str | None = None) -> Message:
    return Message("assistant", text, reasoning)


def _user(text: str) -> Message:
    return Message("user", text)


CONVERSATIONS: Final[dict[str, tuple[Message, ...]]] = {
    "question": (_user("ask7"),),
    "system": (Message("system", "sys6"), _user("ask7")),
    "turns": (_user("ask1"), _said("ans2"), _user("ask7")),
    "thoughts": (_user("ask1"), _said("ans2", "rea3"), _user("ask7")),
    "tool last": (
        _user("ask1"),
        Message("assistant", "", calls=(ToolCall("f", {"a": "b"}, "000000001"),)),
        Message("tool", "ask7", call_id="000000001"),
    ),
    "/no_think user": (_user("ask7 /no_think"),),
    "/think user": (_user("ask7 /think"),),
    "/no_think system": (Message("system", "sys6 /no_think"), _user("ask7")),
    "/think system": (Message("system", "sys6 /think"), _user("ask7")),
    "marks": (_user("what are <think> and </think>, [THINK], <|end|>? ask7"),),
    "empty": (_user("ask1"), _said("ask7"), _user("")),
    "prefilled": (_user("ask1"), _said("ask7")),
}


@dataclass(frozen=True, slots=True)
class Look:
    """One template, and for each conversation where its prompts end."""

    name: str
    hash: str
    bundle: Bundle
    endings: dict[str, str]  # conversation -> "think answer", "refused", or what is wrong

    @property
    def num_wrong(self) -> int:
        return sum(text.startswith("WRONG") for text in self.endings.values())


def look_at(path: Path) -> Look:
    template = path.read_text(encoding="utf-8")
    reasoning = detect_reasoning(template, bos_token=_BOS, eos_token=_EOS, name=path.stem)
    tokens = sorted(set(_TOKEN.findall(literals_of(template))))
    bundle = Bundle(
        path=path,
        name=path.stem,
        engine="scripted",
        files=(),
        chat_template=template,
        bos_token=_BOS,
        eos_token=_EOS,
        control_tokens=guarded_texts(template, tokens, ()),
        reasoning=reasoning,
    )
    endings = {name: _ending(bundle, messages) for name, messages in CONVERSATIONS.items()}
    return Look(path.stem, hash_of(template), bundle, endings)


def hash_of(template: str) -> str:
    """Of a template's text, however its blanks are laid out."""
    return hashlib.sha256(" ".join(template.split()).encode()).hexdigest()[:12]


_FUNCTION: Final = {
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
}


def _ending(bundle: Bundle, messages: Sequence[Message]) -> str:
    if bundle.reasoning.kind is not Kind.MARKER:
        return "-"
    words = []
    tools = [_FUNCTION] if any(message.calls for message in messages) else None
    for thinking in (True, False):
        try:
            prompt = thinking_prompt(bundle, messages, thinking, tools=tools)
        except (UsageError, BundleError):
            return "refused"
        inside = _last_mark(bundle, messages, prompt.segments)
        if inside is not bool(prompt.thinking):
            return f"WRONG: asked {thinking}, told {prompt.thinking}, read {inside}"
        words.append("thinks" if inside else "answers")
    return " / ".join(words)


def _last_mark(bundle: Bundle, messages: Sequence[Message], segments: Sequence[Segment]) -> bool:
    """Is a thought open at the end: read off what follows the last message's text."""
    text = "".join(piece.text if piece.control else "?" * len(piece.text) for piece in segments)
    rest = text[max(text.rfind("ask7"), text.rfind("ans2"), 0) :]
    opened = max(rest.rfind(mark) for mark in bundle.reasoning.opens)
    shut = max(rest.rfind(mark) for mark in bundle.reasoning.shuts)
    return opened > shut


# --- judgements ---------------------------------------------------------------------------------

FOUND: Final = ("kind", "marks", "switch", "dials", "answer", "unclear")
VERDICTS: Final = ("right", "unclear", "wrong")


def found_in(look: Look) -> dict[str, str]:
    """What was made of a template, in the words of the file of verdicts."""
    reasoning = look.bundle.reasoning
    off = {**reasoning.off.variables} or reasoning.off.system or reasoning.switch.value
    is_marked = reasoning.kind is Kind.MARKER
    return {
        "kind": reasoning.kind.value,
        "marks": " ".join((*reasoning.opens, *reasoning.shuts)) if is_marked else "",
        "switch": str(off) if is_marked else "",
        "dials": " ".join(sorted(reasoning.dials)),
        "answer": f"{reasoning.answer} {reasoning.answer_end}".strip(),
        "unclear": "yes" if reasoning.found.startswith(UNCLEAR) else "",
    }


def read_verdicts(path: Path) -> dict[str, dict[str, str]]:
    """By the template's hash. A row has the columns of `FOUND`, and `verdict`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["hash"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        if row["verdict"] not in VERDICTS:
            raise UsageError(f"{path}: a verdict is one of {VERDICTS}, got {row['verdict']!r}")
    return rows


def judged(look: Look, verdicts: Mapping[str, Mapping[str, str]]) -> str:
    """A verdict, "not judged", or "other than judged": what is found now is something else."""
    row = verdicts.get(look.hash)
    if row is None:
        return "not judged"
    same = all(row[name] == value for name, value in found_in(look).items())
    return row["verdict"] if same else "other than judged"


# --- injection ------------------------------------------------------------------------------------


def attacks(tokens: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Texts without end: tokens whole, in halves, in other letters, backwards, in escapes."""
    extras = ["/think", "/no_think", "<", ">", "|", "\U000f0000", "\\U000f0000", " x ", "&lt;", "'"]
    while True:
        token = rng.choice(tokens)
        half = rng.randrange(1, len(token))
        pieces = [token, token[:half], token[half:], token.upper(), token[::-1], *extras]
        yield "".join(rng.choices(pieces, k=rng.randrange(1, 6)))


def inject(look: Look, texts: Sequence[str]) -> Counter[str]:
    """Each text in a message, a tool, a document or a name: what came of it.

    `tokens` and `guards` must stay 0: control tokens other than those of harmless texts, and names
    of guards that an unguarded rendering has not.
    """
    found: Counter[str] = Counter()
    known = _any_of({*look.bundle.control_tokens, *_markers(look.bundle)})
    for index, text in enumerate(texts):
        place = PLACES[index % len(PLACES)]
        try:
            segments = _rendered(look.bundle, place, text)
            harmless = re.sub(r"[^\w/\s]", "x", text)
            clean = _rendered(look.bundle, place, harmless)
            plain = _rendered(look.bundle, place, text, guarded=False)
        except EdgereasonError as error:
            found["refused" if "into control tokens" in error.message else "not taken"] += 1
            continue
        found["rendered"] += 1
        found["tokens"] += _controls(known, segments) != _controls(known, clean)
        found["guards"] += _num_guards(segments) > _num_guards(plain)
    return found


def _rendered(bundle: Bundle, place: str, text: str, guarded: bool = True) -> tuple[Segment, ...]:
    messages, options = _placed(place, text)
    return render(
        bundle.chat_template,
        messages,
        bos_token=_BOS,
        eos_token=_EOS,
        control_tokens=bundle.control_tokens if guarded else (),
        markers=_markers(bundle) if guarded else (),
        **options,
    )


def _markers(bundle: Bundle) -> tuple[str, ...]:
    reasoning = bundle.reasoning
    return (*reasoning.opens, *reasoning.shuts) if reasoning.kind is Kind.MARKER else ()


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)")


def _controls(known: re.Pattern[str], segments: Sequence[Segment]) -> list[str]:
    return [text for piece in segments if piece.control for text in known.findall(piece.text)]


def _num_guards(segments: Sequence[Segment]) -> int:
    return len(_GUARD.findall("".join(piece.text for piece in segments)))


def _placed(place: str, text: str) -> tuple[list[Message], dict[str, Any]]:
    if place == "message":
        return [_user(text)], {}
    if place == "system":
        return [Message("system", text), _user("x")], {}
    if place == "document":
        return [_user("x")], {"documents": [{"title": text, "text": text, "doc_id": "1"}]}
    function = {
        "name": text if place == "name" else "f",
        "description": text if place == "tool" else "d",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": []},
    }
    return [_user("x")], {"tools": [{"type": "function", "function": function}]}


# --- the bench ------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, say: Say) -> Findings:
    paths = sorted(options.templates.glob("*.jinja"))
    if not paths:
        raise UsageError(f"no .jinja file in {options.templates}", "give another --templates")
    looks = []
    for path in paths:
        try:
            looks.append(look_at(path))
        except BundleError as error:
            say(f"{path.stem}: {error.message}")
    rng = random.Random(options.seed)
    injected: Counter[str] = Counter()
    for look in looks if options.texts else ():
        tokens = look.bundle.control_tokens or ("<|im_end|>",)
        source = attacks(tokens, rng)
        texts = [next(source) for _ in range(-(-options.texts // len(looks)))]
        found = inject(look, texts)
        injected += found
        if found["tokens"] or found["guards"]:
            say(f"{look.name}: {dict(found)}")
    say(f"{len(looks)} of {len(paths)} templates")
    verdicts = read_verdicts(options.verdicts) if options.verdicts else {}
    return findings(looks, injected, len(paths), verdicts)


def findings(
    looks: Sequence[Look],
    injected: Counter[str],
    num_files: int,
    verdicts: Mapping[str, Mapping[str, str]],
) -> Findings:
    columns = ("template", "kind", "opens with", "switch", "dials", "found by")
    rows = [_row(look) for look in looks]
    ends = Counter(text for look in looks for text in look.endings.values())
    wrong = [
        (look.name, name, text)
        for look in looks
        for name, text in look.endings.items()
        if text.startswith("WRONG")
    ]
    by_ending = Table(
        "where prompts end", ("asked to think / to answer", "prompts"), ends.most_common()
    )
    figures = {
        "templates": num_files,
        "looked_at": len(looks),
        "marker": sum(look.bundle.reasoning.kind is Kind.MARKER for look in looks),
        "unclear": sum(look.bundle.reasoning.found.startswith("unclear") for look in looks),
        "judged": dict(Counter(judged(look, verdicts) for look in looks)) if verdicts else {},
        "conversations": len(CONVERSATIONS),
        "wrong": wrong,
        "injection": {
            name: injected[name]
            for name in ("rendered", "refused", "not taken", "tokens", "guards")
        },
    }
    tables = [Table("templates", columns, rows), by_ending]
    if verdicts:
        others = [(look.name, judged(look, verdicts), *found_in(look).values()) for look in looks]
        told = [row for row in others if row[1] != "right"]
        tables.append(Table("not right", ("template", "verdict", *FOUND), told))
    if wrong:
        tables.append(Table("wrong", ("template", "conversation", "what"), wrong))
    return Findings(figures, tuple(tables))


def _row(look: Look) -> tuple[object, ...]:
    reasoning = look.bundle.reasoning
    variables = {**reasoning.off.variables} or reasoning.off.system or reasoning.switch.value
    return (
        look.name,
        reasoning.kind.value,
        ", ".join(map(repr, reasoning.opens)),
        str(variables),
        ", ".join(reasoning.dials),
        reasoning.found.partition("(")[0],
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--templates", type=Path, required=True, help="folder with .jinja files")
    parser.add_argument("--verdicts", type=Path, help="CSV of what a reader said of each template")
    parser.add_argument("--texts", type=int, default=20_000, help="hostile texts in all; 0: none")
    parser.set_defaults(wait_idle=0)


BENCH: Final = Bench("templates", __doc__ or "", _add_options, measure)

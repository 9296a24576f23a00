"""27 tasks on which models did worse than people: BIG-Bench Hard (2210.09261)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .base import Item, Source

_NAMES: Final = (
    "boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages "
    "formal_fallacies geometric_shapes hyperbaton logical_deduction_five_objects "
    "logical_deduction_seven_objects logical_deduction_three_objects movie_recommendation "
    "multistep_arithmetic_two navigate object_counting penguins_in_a_table "
    "reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "sports_understanding temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies "
    "word_sorting"
)
_AT: Final = "https://raw.githubusercontent.com/suzgunmirac/BIG-Bench-Hard/9ee07bd481feebf959a6b59d61ea57bdcf30964d/bbh"
SOURCE = Source(tuple(f"{_AT}/{name}.json" for name in _NAMES.split()), "MIT")

_OPTION: Final = re.compile(r"^\s*(\([A-Z]\)|-) ?(.*)$", re.MULTILINE)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for name, path in zip(_NAMES.split(), files, strict=True):
        rows = json.loads(path.read_text(encoding="utf-8"))["examples"]
        for number, row in enumerate(rows):
            item = _item(f"bbh-{name}-{number}", row["input"].strip(), row["target"].strip(), name)
            if item is not None:
                yield item


def _item(id: str, text: str, target: str, task: str) -> Item | None:
    """None for the few rows whose answer is none of their options."""
    question, _, listed = text.partition("Options:")
    extra = {"task": task}
    if target in ("Yes", "No", "yes", "no"):
        return Item(id, question.strip(), target.lower(), "yes_no", (), extra)
    options = {mark: words.strip() for mark, words in _OPTION.findall(listed)}
    if "-" in options:
        choices = tuple(words.strip() for _, words in _OPTION.findall(listed))
        known = target in choices
        return Item(id, question.strip(), target, "choice", choices, extra) if known else None
    if options:
        known = target in options and len(set(options.values())) == len(options)
        choices = tuple(options.values())
        return (
            Item(id, question.strip(), options[target], "choice", choices, extra) if known else None
        )
    if target in ("True", "False"):
        return Item(id, text, target, "choice", ("True", "False"), extra)
    return Item(id, text, target, "number" if _is_number(target) else "short", (), extra)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+", text))

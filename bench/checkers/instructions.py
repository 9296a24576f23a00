"""Every [rule, arguments] of `answer` holds for the text: the verifiable instructions of IFEval.

https://arxiv.org/abs/2311.07911. Languages are told by langdetect, as there. Sentences and words
are split by rules of our own, not by NLTK's models: a count of sentences may differ by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgereason.errors import UnsupportedError, UsageError

from ..tasks.base import Item

Rule = Callable[..., bool]


def ready() -> None:
    _langdetect()


def check(item: Item, text: str) -> bool:
    """Raises `UsageError` where the task names a rule that there is not."""
    for name, arguments in json.loads(item.answer):
        if name not in RULES:
            raise UsageError(f"{item.id}: no rule called {name!r}")
        given = {key: value for key, value in arguments.items() if value is not None}
        if not text.strip() or not RULES[name](text, **given):
            return False
    return True


def _related(count: int, relation: str, limit: int) -> bool:
    return count < limit if relation == "less than" else count >= limit


# --- words and letters ----------------------------------------------------------------------------


def _existence(text: str, keywords: list[str]) -> bool:
    return all(re.search(word, text, re.IGNORECASE) for word in keywords)


def _forbidden(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def _frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _related(len(re.findall(keyword, text, re.IGNORECASE)), relation, frequency)


def _letters(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _related(text.lower().count(letter.lower()), let_relation, let_frequency)


def _capitals(text: str, capital_frequency: int, capital_relation: str) -> bool:
    words = re.findall(r"[^\W\d_][\w'-]*", text)
    return _related(sum(word.isupper() for word in words), capital_relation, capital_frequency)


def _words(text: str, num_words: int, relation: str) -> bool:
    return _related(len(re.findall(r"\w+", text)), relation, num_words)


# --- parts ----------------------------------------------------------------------------------------

_ABBREVIATION: Final = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|e\.g|i\.e|p\.s)\.$")


def count_sentences(text: str) -> int:
    """Ends are . ! ? and line breaks between paragraphs; not those of usual abbreviations."""
    count, begun = 0, ""
    for part in re.split(r"(?<=[.!?])[\"')\]]*\s+|\n\s*\n", text):
        begun = f"{begun} {part}".strip()
        if begun and not _ABBREVIATION.search(begun.lower()):
            count, begun = count + bool(re.search(r"\w", begun)), ""
    return count + bool(re.search(r"\w", begun))


def _sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _related(count_sentences(text), relation, num_sentences)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    """Set apart by ***; an empty one may only be at an end."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def _first_word(text: str, first_word: str, num_paragraphs: int, nth_paragraph: int) -> bool:
    parts = re.split(r"\n\n", text)
    if sum(bool(part.strip()) for part in parts) != num_paragraphs or nth_paragraph > len(parts):
        return False
    words = parts[nth_paragraph - 1].split()
    found = re.match(r"['\"]*([^.,?!'\"]*)", words[0]) if words else None
    return found is not None and found[1].lower() == first_word.lower()


def _bullets(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == num_bullets


def _highlights(text: str, num_highlights: int) -> bool:
    single = re.findall(r"\*([^\n*]*)\*", text)
    double = re.findall(r"\*\*([^\n*]*)\*\*", text)
    return sum(bool(part.strip()) for part in (*single, *double)) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    parts = re.split(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)
    return len(parts) - 1 >= num_sections


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    whole = [part for part in parts if part]
    return all(parts[1:-1]) and len(whole) == 2 and whole[0] != whole[1]


# --- the rest -------------------------------------------------------------------------------------


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    letters = re.findall(r"[a-z]", postscript_marker.lower())
    if not letters or set(letters) != {"p", "s"}:
        return postscript_marker.lower() in text.lower()
    return bool(re.search(r"\.\s?".join(letters) + r"\b", text.lower()))


def _constrained(text: str) -> bool:
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def _json(text: str) -> bool:
    bare = re.sub(r"^\s*```(?:json)?\s*|\s*```\s*$", "", text, flags=re.IGNORECASE)
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return any(title.strip("<> ") for title in re.findall(r"<<[^\n]+>>", text))


def _repeat(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quotation(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


def _language(text: str, language: str) -> bool:
    package = _langdetect()
    package.DetectorFactory.seed = 0  # it draws
    try:
        found: str = package.detect(text)
    except package.LangDetectException:  # there are no letters in it
        return False
    return found == language


def _capital_english(text: str) -> bool:
    return text.isupper() and _language(text.lower(), "en")


def _lower_english(text: str) -> bool:
    return text.islower() and _language(text, "en")


def _langdetect() -> Any:
    try:
        import langdetect
    except ImportError:
        raise UnsupportedError(
            "instructions about languages need langdetect, which is not installed",
            "pip install 'edgereason[bench]'",
        ) from None
    return langdetect


RULES: Final[Mapping[str, Rule]] = {
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": _capital_english,
    "change_case:english_lowercase": _lower_english,
    "punctuation:no_comma": lambda text: "," not in text,
}

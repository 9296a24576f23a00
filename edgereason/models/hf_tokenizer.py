"""`tokenizer.json` and its neighbours as GGUF's `tokenizer.*` metadata.

Two kinds: byte-level BPE, which libllama cuts by a rule that has a name there (`pre`), and pieces
with `▁` and a byte fallback (Gemma, Llama 2). The rule is recognised by what the file says it does,
never by the model's name; an unknown one is refused, because wrong tokens look like a bad model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.errors import BundleError, UnsupportedError

_NORMAL, _UNKNOWN, _CONTROL, _DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BLANK: Final = "\u2581"
_BYTE_PIECE: Final = re.compile(r"<0x[0-9A-F]{2}>")
# Makers forget to mark some control tokens as special.
_LOOKS_SPECIAL: Final = re.compile(r"<\|.*\|>|<\uff5c.*\uff5c>|<unused\d+>|<pad>|<mask>", re.DOTALL)

_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3: Final = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2: Final = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST

# What cuts a text into words, in order, with what normalizes it before -> libllama's name.
_PLAIN_BYTES: Final = "bytes of words"
_RULES: Final[Mapping[tuple[str, ...], str]] = {
    (_PLAIN_BYTES,): "gpt-2",
    ("each digit", _PLAIN_BYTES): "smollm",
    (f"split {_LLAMA3}", "bytes"): "llama-bpe",
    (f"split {_QWEN2}", "bytes"): "deepseek-r1-qwen",
    ("NFC", f"split {_QWEN2}", "bytes"): "qwen2",
}

_IDS: Final = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "pad_token": "padding",
}
_SAMPLING: Final = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}


def read_vocabulary(folder: Path, config: Mapping[str, Any], num_vocab: int) -> dict[str, Any]:
    """All metadata that follows from the folder's tokenizer, chat template and sampling."""
    written = read_settings(folder / "tokenizer.json")
    if not written:
        raise BundleError(
            f"{folder.name} has no tokenizer.json",
            "save it with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )
    settings = {
        **read_settings(folder / "special_tokens_map.json"),
        **read_settings(folder / "tokenizer_config.json"),
    }
    generation = read_settings(folder / "generation_config.json")
    try:
        has_pieces = _has_pieces(written)
        tokens, types = _tokens(written, settings, num_vocab)
        data = _pieces(written, tokens) if has_pieces else _byte_level(written)
        data["tokenizer.ggml.tokens"] = tokens
        data["tokenizer.ggml.token_type"] = types
        data |= _ids(tokens, settings, {**config, **generation})
        data["tokenizer.ggml.add_bos_token"] = _adds_bos(written, settings)
        if template := _template(folder, settings):
            data["tokenizer.chat_template"] = template
        return data | _sampling(generation)
    except (TypeError, LookupError, ValueError, AttributeError, ArithmeticError) as error:
        raise BundleError(
            f"tokenizer.json is not what it should be: {type(error).__name__} {error}",
            "fetch it again",
        ) from None


def _sampling(generation: Mapping[str, Any]) -> dict[str, Any]:
    if generation.get("do_sample"):
        return {
            f"general.sampling.{ours}": (int if ours == "top_k" else float)(generation[theirs])
            for theirs, ours in _SAMPLING.items()
            if isinstance(generation.get(theirs), (int, float))
        }
    said = generation.get("do_sample") is False  # said, not left out
    return {"general.sampling.temp": 0.0} if said else {}


def _has_pieces(written: Mapping[str, Any]) -> bool:
    """Which of the two kinds it is."""
    model = written.get("model") or {}
    if model.get("type") != "BPE":
        raise UnsupportedError(
            f"the tokenizer is of kind {model.get('type')!r}", "known: BPE, by bytes or by pieces"
        )
    return bool(model.get("byte_fallback"))


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder; an empty one where there is no such file."""
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {path}: {error}") from None


# --- tokens ---------------------------------------------------------------------------------------


def _tokens(
    written: Mapping[str, Any], settings: Mapping[str, Any], num_vocab: int
) -> tuple[list[str], list[int]]:
    """Texts and types, one for each row of the embedding; rows without a token are unused."""
    model = written["model"]
    tokens = [f"[PAD{i}]" for i in range(num_vocab)]
    types = [_UNUSED] * num_vocab

    def put(index: Any, text: Any, kind: int) -> None:
        if type(index) is not int or not 0 <= index < num_vocab or not isinstance(text, str):
            raise BundleError(
                f"the tokenizer has token {text!r} at {index!r}, the model has {num_vocab} rows",
                "model and tokenizer do not belong together",
            )
        tokens[index], types[index] = text, kind

    pieces = bool(model.get("byte_fallback"))
    for text, index in model["vocab"].items():
        put(index, text, _BYTE if pieces and _BYTE_PIECE.fullmatch(text) else _NORMAL)
    for added in _added(written, settings):
        text = added["content"]
        if added["id"] >= num_vocab:
            continue  # Gemma's text models keep the token of an image, which they have no row for
        special = added.get("special") or _LOOKS_SPECIAL.fullmatch(text)
        # libllama looks for these in plain text, where a blank is a blank.
        shown = text if special or not pieces else text.replace(_BLANK, " ")
        put(added["id"], shown, _CONTROL if special else _DEFINED)
    unknown = model.get("unk_token")
    if unknown in model["vocab"]:
        types[model["vocab"][unknown]] = _UNKNOWN
    return tokens, types


def _added(written: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from written.get("added_tokens") or ()
    known = {added["id"] for added in written.get("added_tokens") or ()}
    for index, added in (settings.get("added_tokens_decoder") or {}).items():
        if int(index) not in known:
            yield {"id": int(index), **added}


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs; old files have them as one text with a blank between."""
    split = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    return [(str(left), str(right)) for left, right in split]


def _byte_level(written: Mapping[str, Any]) -> dict[str, Any]:
    rule = tuple(_rule(written))
    if rule not in _RULES:
        raise UnsupportedError(
            f"the tokenizer cuts texts in a way that is not known: {' | '.join(rule) or 'none'}",
            "known are those of GPT-2, SmolLM, Llama 3, Qwen 2 and DeepSeek-R1",
        )
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _RULES[rule],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in _merges(written["model"])],
    }


def _pieces(written: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    """Pieces are joined by score; the earlier a merge, the higher that of what it makes."""
    rule = tuple(_rule(written))
    known = {
        (f"' ' as {_BLANK}",): False,
        (f"' ' as {_BLANK}", "split ' '"): False,
        (f"{_BLANK} before", f"' ' as {_BLANK}"): True,
    }
    if rule not in known:
        raise UnsupportedError(
            f"the tokenizer prepares texts in a way that is not known: {' | '.join(rule)}",
            "known are those of Gemma and Llama 2",
        )
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(_merges(written["model"])):
        ranks.setdefault(left + right, rank)
    last = len(ranks) + 1
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.add_space_prefix": known[rule],
        "tokenizer.ggml.scores": [-float(ranks.get(text, last)) for text in tokens],
    }


def _rule(written: Mapping[str, Any]) -> Iterator[str]:
    """What happens to a text before BPE, step by step, in words that can be compared."""
    for step in (*_steps(written.get("normalizer")), *_steps(written.get("pre_tokenizer"))):
        kind = step.get("type")
        pattern = step.get("pattern") or {}
        if kind == "Split" and step.get("behavior") == "Isolated" and "Regex" in pattern:
            yield f"split {pattern['Regex']}" + (" inverted" if step.get("invert") else "")
        elif kind == "Split" and pattern == {"String": " "}:
            yield "split ' '"
        elif kind == "Replace" and pattern == {"String": " "}:
            yield f"' ' as {step.get('content')}"
        elif kind == "Prepend":
            yield f"{step.get('prepend')} before"
        elif kind == "Digits" and step.get("individual_digits"):
            yield "each digit"
        elif kind == "ByteLevel" and not step.get("add_prefix_space"):
            yield _PLAIN_BYTES if step.get("use_regex", True) else "bytes"
        else:
            yield str(kind) if len(step) == 1 else json.dumps(step, ensure_ascii=False)


def _steps(part: Any) -> list[dict[str, Any]]:
    if not part:
        return []
    if part.get("type") == "Sequence":
        inner = part.get("normalizers", part.get("pretokenizers")) or ()
        return [step for each in inner for step in _steps(each)]
    return [part]


# --- what stands around a text --------------------------------------------------------------------


def _ids(
    tokens: list[str], settings: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, int]:
    """Ids of the tokens that have a role. A second end token is said to end a turn."""
    places = {text: i for i, text in enumerate(tokens)}
    found: dict[str, int] = {}
    for theirs, ours in _IDS.items():
        named = settings.get(theirs)
        text = named.get("content") if isinstance(named, dict) else named
        index = places.get(text) if text else _first(config.get(f"{theirs}_id"))
        if index is not None and 0 <= index < len(tokens):
            found[f"tokenizer.ggml.{ours}_token_id"] = index
    eos = found.get("tokenizer.ggml.eos_token_id")
    ends = config.get("eos_token_id")
    others = [end for end in (ends if isinstance(ends, list) else [ends]) if end not in (None, eos)]
    if others and eos is not None and 0 <= others[0] < len(tokens):
        found["tokenizer.ggml.eot_token_id"] = others[0]
    return found


def _first(value: Any) -> int | None:
    value = value[0] if isinstance(value, list) and value else value
    return value if type(value) is int else None


def _adds_bos(written: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """What is done to a text: the tokenizer's template says so, else its settings."""
    after = written.get("post_processor") or {}
    steps = after.get("processors", [after]) if after else []
    for step in steps:
        if step.get("type") == "TemplateProcessing":
            return bool(step.get("single")) and "SpecialToken" in step["single"][0]
    return bool(settings.get("add_bos_token", False))


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    beside = folder / "chat_template.jinja"
    if beside.exists():
        try:
            return files.read_text(beside)
        except (OSError, ValueError) as error:
            raise BundleError(f"cannot read {beside}: {error}") from None
    found = settings.get("chat_template") or read_settings(folder / "chat_template.json").get(
        "chat_template"
    )
    if isinstance(found, list):  # several with names
        named = {each.get("name"): each.get("template") for each in found}
        found = named.get("default") or next(iter(named.values()), "")
    return found if isinstance(found, str) else ""

"""KV on disk: found by the next process, bounded, and never used when a bit of it is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.records import Capability, Message, Request
from edgereason.runtime import kv_store
from edgereason.runtime.kv_store import KvCache, model_hash
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

SYSTEM = "You are a careful assistant that answers in few words, and says so when it does not know."
TURNS = (Message("system", SYSTEM), Message("user", "What is 17 * 3?"))


def conversation(question: str = "What is 17 * 3?", **more: Any) -> Request:
    turns = (Message("system", SYSTEM), Message("user", question))
    return Request(turns, strategy="no-think", keep=True, **more)


def opened(folder: Path, model: str = SCRIPTED, **more: Any) -> Reasoner:
    return Reasoner.open(model, kv_cache=folder, park_tokens=2048, **more)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kv"))


def asked_once(folder: Path, question: str = "What is 17 * 3?", **more: Any) -> Any:
    with opened(folder, **more) as reasoner:
        return reasoner.ask(conversation(question))


def test_the_next_process_reads_no_prompt_twice(tmp_path: Path) -> None:
    first = asked_once(tmp_path)
    assert first.usage.cached_tokens == 0
    (file,) = files_in(tmp_path)
    assert file.parent.stat().st_mode & 0o077 == 0  # nobody else reads it
    second = asked_once(tmp_path)
    assert second.answer == first.answer
    assert second.usage.cached_tokens == first.usage.prompt_tokens - 1  # the last is read anew


def test_a_system_prompt_serves_other_questions(tmp_path: Path) -> None:
    asked_once(tmp_path)
    other = asked_once(tmp_path, "Which way?")
    with opened(tmp_path / "empty") as reasoner:
        alone = reasoner.ask(conversation("Which way?"))
    assert other.answer == alone.answer
    assert len(SYSTEM) / 2 < other.usage.cached_tokens < other.usage.prompt_tokens


@pytest.mark.model
def test_a_real_model_answers_the_same_from_disk(tmp_path: Path) -> None:
    more: dict[str, Any] = {"model": "smollm2-135m", "context": 1024, "threads": 1}
    first = asked_once(tmp_path, **more)
    second = asked_once(tmp_path, **more)
    assert second.usage.cached_tokens == first.usage.prompt_tokens - 1
    assert second.answer == first.answer


def test_nano_answers_the_same_from_disk(tmp_path: Path) -> None:
    first = asked_once(tmp_path, "1 + 1", model="nano")
    second = asked_once(tmp_path, "1 + 1", model="nano")
    assert second.usage.cached_tokens == first.usage.prompt_tokens - 1
    assert second.answer == first.answer


def test_whatever_is_damaged_is_removed_and_never_used(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    answer = asked_once(whole).answer
    (file,) = files_in(whole)
    size = file.stat().st_size
    tokens = kv_store._HEADER.size + 4 * 40
    places = [0, 5, 16, 20, 47, 48, 56, 64, 70, kv_store._HEADER.size, tokens, size // 2, size - 40]
    for place in [*places, size - 33, size - 32, size - 1]:
        folder = tmp_path / f"damaged-{place}"
        shutil.copytree(whole, folder)
        (copy,) = files_in(folder)
        raw = bytearray(copy.read_bytes())
        raw[place] ^= 1
        copy.write_bytes(raw)
        done = asked_once(folder)
        assert done.usage.cached_tokens == 0, place
        assert done.answer == answer
        assert files_in(folder)[0].read_bytes() == file.read_bytes()  # made anew


@pytest.mark.parametrize("num_bytes", [0, 1, 71, 72, 100, 1000, -1])
def test_a_file_that_is_cut_short_or_longer_is_removed(tmp_path: Path, num_bytes: int) -> None:
    asked_once(tmp_path)
    (file,) = files_in(tmp_path)
    raw = file.read_bytes()
    file.write_bytes(raw[:num_bytes] if num_bytes >= 0 else raw + b"x")
    with opened(tmp_path) as reasoner:
        assert files_in(tmp_path) == []
        assert reasoner.ask(conversation()).usage.cached_tokens == 0


def test_a_file_that_changes_while_it_is_known_is_removed(tmp_path: Path) -> None:
    asked_once(tmp_path)
    (file,) = files_in(tmp_path)
    with opened(tmp_path) as reasoner:
        file.write_bytes(file.read_bytes()[:-5])
        assert reasoner.ask(conversation()).usage.cached_tokens == 0


def test_odd_things_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    asked_once(tmp_path)
    (file,) = files_in(tmp_path)
    os.mkfifo(file.with_name("pipe.kv"))
    (file.parent / "folder.kv").mkdir()
    (file.parent / ".old.kv.1.part").write_bytes(b"half")
    (file.parent / "note.txt").write_text("mine")
    assert asked_once(tmp_path).usage.cached_tokens > 0
    assert {path.name for path in file.parent.iterdir()} == {file.name, "note.txt"}


def test_another_model_or_another_type_of_kv_has_a_folder_of_its_own(tmp_path: Path) -> None:
    bundle = open_bundle(SCRIPTED)
    copied = tmp_path / "copy"
    shutil.copytree(SCRIPTED, copied)
    assert model_hash(open_bundle(copied), "f16") == model_hash(bundle, "f16")
    assert model_hash(bundle, "q8_0") != model_hash(bundle, "f16")
    script = copied / "script.toml"
    script.write_bytes(script.read_bytes().replace(b"Not sure yet", b"Not yet sure"))
    assert model_hash(open_bundle(copied), "f16") != model_hash(bundle, "f16")


def test_the_size_of_the_context_is_another_model_not(tmp_path: Path) -> None:
    asked_once(tmp_path)
    assert asked_once(tmp_path, context=2500).usage.cached_tokens > 0


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    asked_once(tmp_path, "first question")
    (first,) = files_in(tmp_path)
    asked_once(tmp_path, "second question")
    size = first.stat().st_size
    cache = KvCache(tmp_path, 2 * size + size // 2, "")
    with opened(tmp_path) as reasoner:
        store = cache.open(reasoner.bundle, reasoner._core, reasoner.caps)
        assert store._entries == {}  # other settings: another folder
        store = reasoner._driver._store
        assert store is not None
        store._most_bytes = 2 * size + size // 2
        reasoner.ask(conversation("first question"))  # used again
        reasoner.ask(conversation("third question"))
    names = files_in(tmp_path)
    assert len(names) <= 2
    assert first in names or any(file.stat().st_size >= size for file in names)


def test_what_goes_on_takes_the_place_of_what_it_began_with(tmp_path: Path) -> None:
    with opened(tmp_path) as reasoner:
        store = reasoner._driver._store
        assert store is not None
        said = reasoner.ask(SYSTEM, strategy="raw", answer_budget=4, keep=True).answer
        store.save()
        (first,) = files_in(tmp_path)
        reasoner.ask(f"{SYSTEM}{said} More.", strategy="raw", answer_budget=4, keep=True)
    (second,) = files_in(tmp_path)
    assert second != first


def test_kv_is_not_taken_back_where_it_would_hold_others_too_long(tmp_path: Path) -> None:
    asked_once(tmp_path)
    with opened(tmp_path) as reasoner:
        store = reasoner._driver._store
        assert store is not None
        tokens = next(iter(store._entries.values())).tokens
        store._bytes_per_ms = 0.001
        assert store.fetch(tokens, alone=False) == 0
        assert store.fetch(tokens, alone=True) == len(tokens)
        assert store.fetch(tokens, alone=True) == 0  # it is there


def test_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kv_cache_mib must be 1 or more, got 0"):
        opened(tmp_path, kv_cache_mib=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot keep KV in"):
        opened(tmp_path / "file")
    cache = KvCache(tmp_path, 1 << 20, "")
    with pytest.raises(UnsupportedError, match="lacks save_kv"):
        cache.open(open_bundle(SCRIPTED), None, Capability.LOGITS | Capability.FORK)  # type: ignore[arg-type]  # not reached

"""Several models by name: opened on demand, closed when others need their room."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import MemoryLimitError, ModelNotFoundError, UsageError
from edgereason.runtime.reasoner import Reasoner
from edgereason.server import find
from support.models_open import models_in_memory
from support.places import SCRIPTED
from support.replies import asked
from support.served import Served, served

PATH = "/v1/chat/completions"
THREE = (f"a={SCRIPTED}", f"b={SCRIPTED}", f"c={SCRIPTED}")


def loaded(server: Served) -> list[str]:
    return [model.name for model in server.service.models if model.reasoner is not None]


def ask(server: Served, model: str) -> Any:
    return server.post(PATH, asked(model=model))


def test_names_on_the_command_line() -> None:
    assert list(find((SCRIPTED, "small=nano"))) == ["scripted", "small"]
    with pytest.raises(UsageError, match="two models are called 'nano'"):
        find(("nano", "nano"))
    with pytest.raises(UsageError, match="has no name before ="):
        find(("=nano",))
    with pytest.raises(ModelNotFoundError):
        find(("no-such-model",))


def test_models_are_opened_when_asked_for() -> None:
    with served(*THREE) as server:
        assert loaded(server) == []
        assert ask(server, "b").json()["model"] == "b"
        assert loaded(server) == ["b"]
        assert ask(server, "x").status_code == 404


def test_the_one_that_was_used_longest_ago_gives_way() -> None:
    with served(*THREE, max_loaded=2) as server:
        for name, expected in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc")):
            assert ask(server, name).status_code == 200
            assert server.wait_idle()
            assert loaded(server) == list(expected)


def test_what_gives_way_is_freed_before_the_next_is_opened() -> None:
    """Whoever waits for memory gets it at once, and not when the collector comes by."""
    with served(*THREE, max_loaded=1) as server:
        assert ask(server, "a").status_code == 200
        assert server.wait_idle()
        gc.collect()
        gc.disable()
        try:
            before = models_in_memory()
            assert ask(server, "b").status_code == 200
            assert models_in_memory() == before
        finally:
            gc.enable()


def test_one_that_is_in_use_is_not_closed() -> None:
    with served(*THREE, max_loaded=1) as server:
        ask(server, "a")
        server.service.models.take(server.service.models.named("a"))
        busy = ask(server, "b")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        assert busy.json()["error"]["code"] == "models_busy"
        server.service.models.leave(server.service.models.named("a"))
        assert ask(server, "b").status_code == 200
        assert loaded(server) == ["b"]


def test_memory_that_is_short_closes_what_nobody_uses() -> None:
    opened: list[Reasoner] = []

    def narrow(path: Path) -> Reasoner:
        if any(not reasoner.closed for reasoner in opened):
            raise MemoryLimitError("there is room for one")
        opened.append(Reasoner.open(path))
        return opened[-1]

    with served(*THREE, open=narrow) as server:
        for name in "abca":
            assert ask(server, name).status_code == 200
            assert server.wait_idle()
            assert loaded(server) == [name]
    assert all(reasoner.closed for reasoner in opened)


def test_memory_for_none_is_said() -> None:
    def full(path: Path) -> Reasoner:
        raise MemoryLimitError("there is room for none")

    with served(SCRIPTED, open=full) as server:
        answer = ask(server, "scripted")
        assert answer.status_code == 503
        assert "there is room for none" in answer.json()["error"]["message"]
        assert server.wait_idle()


def test_many_who_ask_at_once_open_a_model_once() -> None:
    opened: list[Path] = []

    def counted(path: Path) -> Reasoner:
        opened.append(path)
        return Reasoner.open(path)

    with served(SCRIPTED, open=counted) as server:
        threads = [threading.Thread(target=ask, args=(server, "scripted")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(opened) == 1

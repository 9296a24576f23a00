"""Ollama's own API, by the ollama package and by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.replies import QUESTION, THOUGHT, TURNS
from support.served import Served

ollama = pytest.importorskip("ollama")


@pytest.fixture
def client(server: Served) -> Any:
    made = ollama.Client(host=server.url)
    yield made
    made._client.close()


@pytest.mark.parametrize("model", ["scripted", "nano", "nano:latest"])
def test_chat_in_one_piece_and_in_lines(client: Any, model: str) -> None:
    whole = client.chat(model=model, messages=TURNS)
    lines = list(client.chat(model=model, messages=TURNS, stream=True))
    assert "".join(line.message.content or "" for line in lines) == whole.message.content
    assert "".join(line.message.thinking or "" for line in lines) == whole.message.thinking
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].done_reason == whole.done_reason == "stop"
    assert lines[-1].eval_count == whole.eval_count > 0
    assert whole.model == model
    assert whole.total_duration > 0
    if model == "scripted":
        assert (whole.message.content, whole.message.thinking) == ("51", THOUGHT)


def test_generate(client: Any) -> None:
    done = client.generate(model="scripted", prompt=QUESTION, system="")
    assert (done.response, done.thinking) == ("51", THOUGHT)
    lines = list(client.generate(model="scripted", prompt=QUESTION, stream=True))
    assert "".join(line.response for line in lines) == "51"


@pytest.mark.parametrize(
    ("think", "thinks"), [(None, True), (True, True), ("low", True), ("max", True), (False, False)]
)
def test_think_as_switch_and_as_level(client: Any, think: Any, thinks: bool) -> None:
    done = client.chat(model="scripted", messages=TURNS, think=think)
    assert bool(done.message.thinking) is thinks


def test_options(client: Any) -> None:
    options = {"num_predict": 4, "temperature": 0.0, "num_ctx": 512, "stop": ["zzz"]}
    done = client.chat(model="scripted", messages=TURNS, options=options)
    assert (done.done_reason, done.eval_count) == ("length", 4)
    endless = client.chat(model="scripted", messages=TURNS, options={"num_predict": -1})
    assert endless.message.content == "51"


def test_a_stream_is_the_default_and_is_made_of_lines(server: Served) -> None:
    answer = server.post("/api/chat", {"model": "scripted", "messages": TURNS})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) > 10
    assert lines[-1]["edgereason"]["ignored"] == []


def test_what_is_said_of_models(client: Any) -> None:
    assert [model.model for model in client.list().models] == ["scripted", "nano"]
    shown = client.show("nano")
    assert shown.capabilities == ["completion", "tools", "thinking"]
    assert shown.modelinfo["llama.context_length"] == 512
    client.chat(model="nano", messages=TURNS)
    assert "nano" in [model.model for model in client.ps().models]


def test_the_version(server: Served) -> None:
    assert server.get("/api/version").json()["version"].count(".") == 2


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/chat", {"think": "enormous"}),
        ("/api/chat", {"format": "yaml"}),
        ("/api/chat", {"format": ["object"]}),
        ("/api/chat", {"tools": [{"type": "function"}]}),
        ("/api/chat", {"tools": ["f"]}),
        ("/api/chat", {"options": {"mirostat": 1}}),
        ("/api/chat", {"options": {"num_predict": 0}}),
        ("/api/chat", {"truncate": True}),
        ("/api/generate", {"raw": True}),
        ("/api/generate", {"suffix": "x"}),
        ("/api/generate", {"images": ["x"]}),
        ("/api/generate", {"context": [1]}),
        ("/api/generate", {"prompt": ""}),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Served, path: str, more: Any) -> None:
    said = {"messages": TURNS} if path == "/api/chat" else {"prompt": QUESTION}
    answer = server.post(path, {"model": "scripted", **said, **more})
    assert answer.status_code == 400
    (key,) = more
    assert key in answer.json()["error"]


def test_errors_are_those_of_the_ollama_package(client: Any) -> None:
    with pytest.raises(ollama.ResponseError, match="no model is called") as caught:
        client.chat(model="llama9", messages=TURNS)
    assert caught.value.status_code == 404

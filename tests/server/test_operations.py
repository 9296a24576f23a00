"""Models, health, figures, tokens, control, the page, the log."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from typing import Any

import httpx
import pytest

from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED
from support.replies import asked
from support.served import Served, served

PATH = "/v1/chat/completions"


def test_models_in_both_shapes(server: Served) -> None:
    openai = server.get("/v1/models").json()
    assert [model["id"] for model in openai["data"]] == ["scripted", "nano"]
    assert openai["data"][0]["context_length"] == 4096
    anthropic = server.get("/v1/models", **{"anthropic-version": "2026-10-21"}).json()
    assert (anthropic["first_id"], anthropic["last_id"]) == ("scripted", "nano")
    assert server.get("/v1/models/nano").json()["id"] == "nano"
    assert server.get("/v1/models/nothing").status_code == 404


def test_props(server: Served) -> None:
    props = server.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == 4096
    assert "im_start" in props["chat_template"]


def test_what_evaluations_ask_of_a_tokenizer(server: Served) -> None:
    told = server.get("/tokenizer_info").json()
    assert told["eos_token"] == "<|im_end|>"
    assert "im_start" in told["chat_template"]
    assert told["bos_token"] is None


@pytest.mark.parametrize("model", ["scripted", "nano"])
@pytest.mark.parametrize("name", ["content", "prompt"])
def test_tokens_there_and_back(server: Served, model: str, name: str) -> None:
    text = "What is 17 * 3?"
    tokens = server.post("/tokenize", {"model": model, name: text}).json()["tokens"]
    assert tokens
    back = server.post("/detokenize", {"model": model, "tokens": tokens}).json()
    assert back["content"] == back["prompt"] == text


@pytest.mark.parametrize("tokens", [[-1], [10**9], ["a"], "1", [True]])
def test_odd_tokens_are_refused(server: Served, tokens: Any) -> None:
    assert server.post("/detokenize", {"tokens": tokens}).status_code == 400


def test_figures_are_counted(server: Served) -> None:
    def figure(name: str) -> float:
        found = re.search(rf"^edgereason_{re.escape(name)} (\S+)$", page(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def page() -> str:
        return server.get("/metrics").text

    server.post(PATH, asked(thinking_budget=5))
    names = (
        f'requests_total{{outcome="answered",route="{PATH}"}}',
        'tokens_total{kind="reasoning"}',
        'thinking_ended_total{by="budget"}',
        "request_seconds_count",
        "first_token_seconds_count",
        "first_answer_token_seconds_count",
        f'requests_total{{outcome="400",route="{PATH}"}}',
    )
    before = [figure(name) for name in names]
    server.post(PATH, asked(thinking_budget=5))
    server.post(PATH, asked(strategy="telepathy"))
    server.post(PATH, asked(n=99))
    server.get("/v1/models/any-name")
    assert server.wait_idle()
    after = [figure(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 5, 1, 1, 1, 1, 2]
    assert "any-name" not in page()
    assert figure('core_num_free_cells{model="scripted"}') > 0


def test_one_line_a_request_goes_to_the_log(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="edgereason.server"):
        id = server.post(PATH, asked()).headers["x-request-id"]
        assert server.wait_idle()
    lines = [json.loads(record.message) for record in caplog.records]
    (line,) = [line for line in lines if line["id"] == id]
    assert (line["outcome"], line["ended_by"], line["model"]) == ("answered", "stop", "scripted")
    assert line["reasoning_tokens"] == 30
    assert "fifty" not in str(line)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server whose model answers only when it is let go on."""
    go_on = threading.Event()
    with served(SCRIPTED) as running:
        reasoner = Reasoner.open(SCRIPTED)
        started = reasoner._steps

        def held(*args: Any) -> Any:
            assert go_on.wait(20)
            return started(*args)

        monkeypatch.setattr(reasoner, "_steps", held)
        next(iter(running.service.models)).reasoner = reasoner
        yield running, go_on
        go_on.set()


def until(check: Any) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_thinking_is_stopped_from_outside(slow: Any) -> None:
    server, go_on = slow
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.post(PATH, asked())))
    asking.start()
    until(lambda: server.service.running)
    (shown,) = server.get("/status").json()["requests"]
    assert (shown["doing"], shown["route"]) == ("reads", PATH)
    body = {"id": f"chatcmpl-{shown['id']}", "action": "reasoning_end"}
    assert server.post(f"{PATH}/control", body).json() == {"success": True}
    go_on.set()
    asking.join(20)
    done = answers[0].json()
    assert done["edgereason"]["thinking"]["ended_by"] == "interrupted"
    assert done["choices"][0]["message"]["content"] == "Not sure yet."
    gone = server.post(f"{PATH}/control", body).json()
    assert gone["success"] is False


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_cancels_the_request(slow: Any, stream: bool) -> None:
    server, go_on = slow
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}{PATH}", json=asked(stream=stream), timeout=0.2)
    until(lambda: all(running.dropped for running in server.service.running.values()))
    assert [running.dropped for running in server.service.running.values()] == ["disconnect"]
    go_on.set()
    assert server.wait_idle()
    metrics = server.get("/metrics").text
    assert f'edgereason_requests_total{{outcome="disconnect",route="{PATH}"}} 1.0' in metrics


@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"id": "x", "action": "explode"}, {"id": 3}])
def test_odd_controls_are_refused(server: Served, body: Any) -> None:
    assert server.post(f"{PATH}/control", body).status_code == 400


def test_the_page_asks_nobody_else(server: Served) -> None:
    page = server.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    script = server.get("/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "innerHTML" not in script.text

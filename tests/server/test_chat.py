"""Chat completions, by the openai package and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from support.replies import QUESTION, THOUGHT, TURNS, asked, events
from support.served import Served, served

openai = pytest.importorskip("openai")

PATH = "/v1/chat/completions"


@pytest.fixture
def client(server: Served) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("model", ["scripted", "nano"])
def test_a_plain_answer(client: Any, model: str) -> None:
    done = client.chat.completions.create(model=model, messages=TURNS)
    choice = done.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert choice.message.reasoning_content
    usage = done.usage
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    if model == "scripted":
        assert (choice.message.content, choice.message.reasoning_content) == ("51", THOUGHT)


@pytest.mark.parametrize("model", ["scripted", "nano"])
def test_a_stream_says_the_same(client: Any, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=TURNS)
    chunks = list(
        client.chat.completions.create(
            model=model, messages=TURNS, stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert thoughts == whole.choices[0].message.reasoning_content
    assert [delta.role for delta in deltas if delta.role] == ["assistant"]
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-2].edgereason["thinking"]["used"] == whole.edgereason["thinking"]["used"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_budget_is_kept_and_told(client: Any) -> None:
    done = client.chat.completions.create(
        model="scripted", messages=TURNS, max_tokens=40, extra_body={"thinking_token_budget": 5}
    )
    assert done.usage.completion_tokens_details.reasoning_tokens == 5
    assert done.choices[0].message.content == "Not sure yet."
    assert done.choices[0].finish_reason == "stop"
    assert done.edgereason["thinking"] == {
        "asked": 5,
        "effort": None,
        "in_force": 5,
        "used": 5,
        "ended_by": "budget",
    }
    assert done.edgereason["answer"]["in_force"] == 35


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_is_never_spent_on_thinking_alone(client: Any, limit: int, name: str) -> None:
    body: Any = {name: limit}
    done = client.chat.completions.create(model="scripted", messages=TURNS, **body)
    assert done.usage.completion_tokens <= limit
    assert done.usage.completion_tokens > done.usage.completion_tokens_details.reasoning_tokens
    assert done.choices[0].message.content
    assert done.choices[0].finish_reason == "length"


@pytest.mark.parametrize("limit", [100, 200])
def test_what_thinking_leaves_of_max_tokens_is_the_answers(client: Any, limit: int) -> None:
    done = client.chat.completions.create(model="scripted", messages=TURNS, max_tokens=limit)
    report = done.edgereason
    assert report["thinking"]["ended_by"] == "stop"  # by itself, before its budget
    assert report["answer"]["in_force"] == limit - report["thinking"]["used"]
    assert report["answer"]["in_force"] > limit - report["thinking"]["in_force"]


def test_effort_none_thinks_nothing(client: Any) -> None:
    done = client.chat.completions.create(model="scripted", messages=TURNS, reasoning_effort="none")
    assert done.usage.completion_tokens_details.reasoning_tokens == 0
    assert "reasoning_content" not in done.choices[0].message.model_dump()


def test_a_deadline_in_body_or_header(server: Served) -> None:
    in_body = server.post(PATH, asked(deadline_ms=5000)).json()["edgereason"]["deadline"]
    assert in_body["asked_ms"] == 5000
    assert in_body["met"] is True
    headers = {"x-edgereason-deadline-ms": "5000"}
    in_header = server.post(PATH, asked(), **headers).json()["edgereason"]["deadline"]
    assert in_header["asked_ms"] == 5000
    both = server.post(PATH, asked(deadline_ms=4000), **headers)
    assert both.status_code == 400
    assert "x-edgereason-deadline-ms says 5000.0" in both.json()["error"]["message"]


def test_a_deadline_ends_the_thinking_of_a_real_model(server: Served) -> None:
    server.post(PATH, {"model": "nano", "messages": TURNS})  # it is open and has been measured
    body = {
        "model": "nano",
        "messages": TURNS,
        "thinking_budget": -1,
        "deadline_ms": 2000,
        "max_tokens": 400,
    }
    report = server.post(PATH, body).json()["edgereason"]
    assert report["answer"]["used"] >= 1
    assert report["deadline"]["late_ms"] < 1000  # the machine is shared


def test_stop_texts_hold_for_the_answer_alone(server: Served) -> None:
    body = asked(stop=["ten", "sure"], thinking_budget=5)
    said = server.post(PATH, body).json()["choices"][0]
    assert said["message"]["reasoning_content"].startswith("Three times ten is")
    assert said["message"]["content"] == "Not"
    assert said["finish_reason"] == "stop"


def test_thoughts_are_hidden_or_renamed_on_request(server: Served) -> None:
    hidden = server.post(PATH, asked(include_reasoning=False)).json()
    assert set(hidden["choices"][0]["message"]) == {"role", "content", "refusal"}
    assert hidden["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    renamed = server.post(PATH, asked(reasoning_field="reasoning")).json()
    assert renamed["choices"][0]["message"]["reasoning"] == THOUGHT
    stream = server.post(PATH, asked(stream=True, reasoning={"exclude": True})).text
    assert "ten is thirty" not in stream
    assert "reasoning_content" not in stream


def test_thoughts_of_earlier_turns_are_taken_under_every_name(server: Served) -> None:
    for name in ("reasoning_content", "reasoning", "thinking"):
        turns = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi", name: "I greet."},
            *TURNS,
        ]
        assert server.post(PATH, asked(messages=turns)).status_code == 200
    turns[1]["reasoning"] = "I wave."
    both = server.post(PATH, asked(messages=turns))
    assert both.status_code == 400
    assert both.json()["error"]["param"] == "messages[1].reasoning, messages[1].thinking"


def test_the_next_turn_reuses_the_one_before(server: Served) -> None:
    turns: list[dict[str, str]] = [{"role": "user", "content": "Say something of the sea."}]
    first = server.post(PATH, asked(messages=turns)).json()
    turns += [
        {"role": "assistant", "content": first["choices"][0]["message"]["content"]},
        {"role": "user", "content": "And more?"},
    ]
    second = server.post(PATH, asked(messages=turns)).json()["usage"]
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert first["usage"]["prompt_tokens"] // 2 < cached <= second["prompt_tokens"]


def test_ignored_fields_are_listed(server: Served) -> None:
    done = server.post(PATH, asked(user="me", metadata={}, never_heard_of=1, store=False)).json()
    assert done["edgereason"]["ignored"] == ["user", "metadata", "never_heard_of"]


@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
def test_tools_that_may_not_be_called_are_left_out(server: Served, path: str) -> None:
    choice: Any = "none" if path == PATH else {"type": "none"}
    tools = [{"type": "function", "name": "f", "function": {"name": "f"}}]
    done = server.post(path, asked(tools=tools, tool_choice=choice, max_tokens=99)).json()
    assert done["edgereason"]["ignored"] == ["tools"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 200),
        ("n", 17),
        ("logprobs", 3),
        ("top_logprobs", 3),
        ("top_logprobs", 21),
        ("tools", [{"type": "function", "function": {"name": "f g"}}]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": [1]}}]),
        ("tools", [{"type": "function", "function": {"name": "f"}}] * 2),
        ("tools", "f"),
        ("tool_choice", {"type": "allowed_tools"}),
        ("tool_choice", "required"),
        ("frequency_penalty", 0.5),
        ("ignore_eos", True),
        ("min_tokens", 4),
        ("store", True),
        ("chat_template_kwargs", {"custom": 1}),
        ("reasoning_effort", "enormous"),
        ("temperature", -1),
        ("seed", 1.5),
        ("max_tokens", 0),
        ("priority", 1.5),
        ("strategy", "../evil"),
        ("strategy", "telepathy"),
        ("service_tier", "gold"),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"1": "x"}),
        ("stream", "yes"),
        ("deadline_ms", -1),
        ("extra_body", {"thinking_budget": 3}),
        ("continue_final_message", True),
        ("add_generation_prompt", False),
        ("messages", []),
        ("messages", "hello"),
        ("messages", [{"role": "user"}]),
        ("messages", [{"role": "robot", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
        ("messages", [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]),
        ("messages", [{"role": "assistant", "tool_calls": [{"id": "1"}]}, *TURNS]),
        ("messages", [{"role": "assistant", "tool_calls": {"id": "1"}}, *TURNS]),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(
    server: Served, field: str, value: Any, stream: bool
) -> None:
    answer = server.post(PATH, asked(**{"stream": stream, field: value}))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert field in f"{error['param']} {error['message']}"
    assert answer.headers["x-should-retry"] == "false"


def test_errors_are_those_of_the_openai_package(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=TURNS)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="n asks for 99 answers"):
        client.chat.completions.create(model="scripted", messages=TURNS, n=99)


def test_a_prompt_that_is_too_long_is_never_cut(server: Served) -> None:
    body = {"model": "nano", "messages": [{"role": "user", "content": QUESTION * 100}]}
    for stream in (False, True):
        answer = server.post(PATH, body | {"stream": stream})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
        assert error["n_ctx"] == 512 < error["n_prompt_tokens"]


def test_the_framing_of_a_stream(server: Served) -> None:
    answer = server.post(PATH, asked(stream=True))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    found = events(answer.text)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert found[-1] == "[DONE]"
    assert not any("<think>" in str(event) or "</think>" in str(event) for event in found)


def test_other_strategies_may_be_asked_for(server: Served) -> None:
    body = asked(strategy="vote", strategy_options={"samples": 3}, temperature=0.5, seed=-1)
    done = server.post(PATH, body).json()
    assert done["edgereason"]["strategy"] == "vote"
    assert done["choices"][0]["message"]["content"] == "51"
    many = server.post(PATH, asked(strategy="vote", strategy_options={"samples": 17}))
    assert many.status_code == 400
    assert "samples=17 is more than this server runs" in many.json()["error"]["message"]


def test_priority_and_tier(server: Served) -> None:
    for body, priority in (({"priority": -3}, -3), ({"service_tier": "flex"}, -1), ({}, 0)):
        assert server.post(PATH, asked(**body)).json()["edgereason"]["priority"] == priority


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
def test_an_answer_that_was_begun_is_gone_on_with(server: Served, path: str, stream: bool) -> None:
    turns = [*TURNS, {"role": "assistant", "content": "makes fifty one.\n</think>\n\n"}]
    body = asked(messages=turns, stream=stream, max_tokens=40, reasoning_effort="none")
    if path != PATH:
        del body["reasoning_effort"]
    answer = server.post(path, body)
    assert answer.status_code == 200, answer.text
    if stream and path == PATH:
        deltas = [e["choices"][0]["delta"] for e in events(answer.text) if e != "[DONE]"]
        said = "".join(delta.get("content") or "" for delta in deltas)
    elif stream:
        said = "".join(e["delta"].get("text", "") for e in events(answer.text) if "delta" in e)
    elif path == PATH:
        said = answer.json()["choices"][0]["message"]["content"]
    else:
        said = answer.json()["content"][0]["text"]
    assert said == "51"


@pytest.mark.parametrize(("way", "option"), [("sql", "database"), ("memory", "bank")])
def test_clients_cannot_name_files(server: Served, way: str, option: str) -> None:
    refused = server.post(PATH, asked(strategy=way, strategy_options={option: "/etc/passwd"}))
    assert refused.status_code == 400
    assert f"{option} names a file of this machine" in refused.json()["error"]["message"]
    assert server.post(PATH, asked(strategy=way)).status_code == 200


def test_who_wants_no_thoughts_gets_the_templates_own_way_without_them() -> None:
    """Behind a thought of no tokens the answer's cue would follow, and the answer would be bare."""
    with served("nano") as server:
        none, plain, low = (
            server.post(PATH, {**asked(model="nano"), "temperature": 0, **more}).json()
            for more in (
                {"reasoning_effort": "none"},
                {"strategy": "no-think"},
                {"reasoning_effort": "low"},
            )
        )
    assert none["choices"] == plain["choices"] != low["choices"]
    assert none["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]

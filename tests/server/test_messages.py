"""Anthropic's messages, by the anthropic package and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from support.replies import THOUGHT, TURNS, events
from support.served import Served

anthropic = pytest.importorskip("anthropic")

PATH = "/v1/messages"
THINKING: Any = {"type": "enabled", "budget_tokens": 100}


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": TURNS, "max_tokens": 300, **more}


@pytest.fixture
def client(server: Served) -> Any:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def test_thinking_is_a_block_of_its_own(client: Any) -> None:
    done = client.messages.create(**asked(thinking=THINKING))
    assert [block.type for block in done.content] == ["thinking", "text"]
    assert (done.content[0].thinking, done.content[1].text) == (THOUGHT, "51")
    assert done.stop_reason == "end_turn"
    assert done.usage.output_tokens_details.thinking_tokens == 30
    assert done.usage.output_tokens == 34
    assert done.edgereason["thinking"]["asked"] == 100


@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "disabled"}}])
def test_without_thinking_nothing_is_thought(client: Any, more: Any) -> None:
    done = client.messages.create(**asked(**more))
    assert [block.type for block in done.content] == ["text"]
    assert done.usage.output_tokens_details.thinking_tokens == 0


@pytest.mark.parametrize("model", ["scripted", "nano"])
def test_a_stream_says_the_same(client: Any, model: str) -> None:
    body = asked(model=model, thinking=THINKING)
    whole = client.messages.create(**body)
    with client.messages.stream(**body) as stream:
        kinds = [event.type for event in stream]
        built = stream.get_final_message()
    assert [(b.type, getattr(b, "text", None) or b.thinking) for b in built.content] == [
        (b.type, getattr(b, "text", None) or b.thinking) for b in whole.content
    ]
    assert built.stop_reason == whole.stop_reason
    assert built.usage.output_tokens == whole.usage.output_tokens
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_the_events_come_in_order_and_carry_their_names(server: Served) -> None:
    answer = server.post(PATH, asked(thinking=THINKING, stream=True))
    names = [line.removeprefix("event: ") for line in answer.text.split("\n") if "event: " in line]
    found = events(answer.text)
    assert names == [event["type"] for event in found]
    told = next(event["usage"] for event in found if event["type"] == "message_delta")
    given = told["input_tokens"] + told["cache_read_input_tokens"]
    assert found[0]["message"]["usage"]["input_tokens"] == given > 0
    shape = [kind for i, kind in enumerate(names) if i == 0 or kind != names[i - 1]]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert shape == ["message_start", *block, *block, "message_delta", "message_stop"]
    deltas = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
    last_thought = len(deltas) - 1 - deltas[::-1].index("signature_delta")
    assert set(deltas[:last_thought]) == {"thinking_delta"}
    assert set(deltas[last_thought + 1 :]) == {"text_delta"}


def test_thoughts_may_be_left_out(server: Served) -> None:
    thinking = {**THINKING, "display": "omitted"}
    done = server.post(PATH, asked(thinking=thinking)).json()
    assert done["content"][0] == {"type": "thinking", "thinking": "", "signature": ""}
    assert done["usage"]["output_tokens_details"]["thinking_tokens"] == 30
    stream = server.post(PATH, asked(thinking=thinking, stream=True)).text
    assert "thinking_delta" not in stream


def test_a_stop_sequence_is_named(client: Any) -> None:
    done = client.messages.create(**asked(stop_sequences=["x", " sure"]))
    assert (done.stop_reason, done.stop_sequence) == ("stop_sequence", " sure")
    assert done.content[0].text == "Not"


def test_an_answer_that_is_cut_says_so(client: Any) -> None:
    done = client.messages.create(**asked(max_tokens=2))
    assert (done.stop_reason, done.usage.output_tokens) == ("max_tokens", 2)


def test_a_round_trip_of_thinking_blocks(client: Any) -> None:
    first = client.messages.create(**asked(thinking=THINKING))
    turns = [*TURNS, {"role": "assistant", "content": first.content}, *TURNS]
    second = client.messages.create(**asked(messages=turns, thinking=THINKING))
    assert second.content[-1].type == "text"
    assert second.usage.input_tokens > first.usage.input_tokens


def test_what_was_cached_is_told_apart_where_the_client_asks_for_a_cache(client: Any) -> None:
    plain = client.messages.create(**asked(messages=TURNS))
    again = client.messages.create(**asked(messages=TURNS))
    assert again.usage.input_tokens == plain.usage.input_tokens
    assert again.usage.cache_read_input_tokens == 0
    assert again.model_extra["edgereason"]["cached_tokens"] > 20
    block = {"type": "text", "text": TURNS[0]["content"], "cache_control": {"type": "ephemeral"}}
    marked = client.messages.create(**asked(messages=[{"role": "user", "content": [block]}]))
    assert marked.usage.cache_read_input_tokens > 20
    together = marked.usage.input_tokens + marked.usage.cache_read_input_tokens
    assert together == plain.usage.input_tokens


def test_effort_thinks_and_adaptive_does_too(server: Served) -> None:
    for more in ({"output_config": {"effort": "low"}}, {"thinking": {"type": "adaptive"}}):
        done = server.post(PATH, asked(**more)).json()
        assert done["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    both = {"output_config": {"effort": "low"}, "thinking": THINKING}
    done = server.post(PATH, asked(**both)).json()
    assert done["edgereason"]["thinking"]["in_force"] == 100
    assert done["edgereason"]["ignored"] == ["output_config.effort"]


def test_tokens_are_counted_before(client: Any) -> None:
    body: Any = {"model": "scripted", "messages": TURNS}
    counted = client.messages.count_tokens(**body).input_tokens
    longer = client.messages.count_tokens(**body, system="You are brief.").input_tokens
    assert 20 < counted < longer
    assert client.messages.create(**asked()).usage.input_tokens == counted
    thinking = client.messages.count_tokens(**body, thinking=THINKING).input_tokens
    usage = client.messages.create(**asked(thinking=THINKING)).usage
    assert usage.input_tokens == pytest.approx(thinking, abs=6)


def test_a_system_of_blocks_and_without_the_line_that_always_changes(server: Served) -> None:
    def count(system: Any) -> int:
        body = {"model": "scripted", "messages": TURNS, "system": system}
        tokens: int = server.post("/v1/messages/count_tokens", body).json()["input_tokens"]
        return tokens

    plain = count("Be brief.")
    block = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    billing = {"type": "text", "text": "x-anthropic-billing-header: cch=123;"}
    assert plain == count([block]) == count([billing, block])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", None),
        ("max_tokens", 0),
        ("thinking", {"type": "enabled", "budget_tokens": 300}),
        ("thinking", {"type": "between_tools"}),
        ("thinking", {"type": "disabled", "budget_tokens": 4}),
        ("tools", [{"name": "f g", "input_schema": {}}]),
        ("tool_choice", "auto"),
        ("tool_choice", {"type": "any"}),
        ("output_config", {"format": {"type": "json_schema"}}),
        ("stop_sequences", [""]),
        ("messages", [{"role": "user", "content": [{"type": "image", "source": {}}]}]),
        ("messages", [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]),
        ("system", [{"type": "image"}]),
        ("speed", "warp"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Served, field: str, value: Any) -> None:
    answer = server.post(PATH, asked(**{field: value}))
    assert answer.status_code == 400
    body = answer.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert field in body["error"]["message"]


def test_errors_are_those_of_the_anthropic_package(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**asked(model="claude-9"))
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**asked(messages=[]))

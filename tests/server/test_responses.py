"""OpenAI's responses, by the openai package and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgereason.records import Answer, Message
from edgereason.server.fields import Given
from edgereason.server.responses import Conversations
from support.replies import QUESTION, THOUGHT, TURNS, events
from support.served import Served

openai = pytest.importorskip("openai")

PATH = "/v1/responses"
# Of Open Responses, 2026-04-24.
REQUIRED = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "scripted", "input": QUESTION, **more}


@pytest.fixture
def client(server: Served) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_plain_response(client: Any, server: Served) -> None:
    done = client.responses.create(**asked())
    assert [item.type for item in done.output] == ["reasoning", "message"]
    assert done.output[0].summary[0].text == THOUGHT
    assert done.output_text == "51"
    assert done.status == "completed"
    assert done.usage.output_tokens_details.reasoning_tokens == 30
    assert set(REQUIRED) <= set(server.post(PATH, asked()).json())


@pytest.mark.parametrize("model", ["scripted", "nano"])
def test_a_stream_says_the_same(client: Any, model: str) -> None:
    body = {"model": model, "input": TURNS, "reasoning": {"effort": "high"}}
    whole = client.responses.create(**body)
    with client.responses.stream(**body) as stream:
        kinds = [event.type for event in stream]
        built = stream.get_final_response()
    assert built.output_text == whole.output_text
    assert built.output[0].summary[0].text == whole.output[0].summary[0].text
    assert built.usage.output_tokens == whole.usage.output_tokens
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_the_events_come_in_order(server: Served) -> None:
    answer = server.post(PATH, asked(stream=True))
    *found, last = events(answer.text)
    assert last == "[DONE]"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    kinds = [event["type"].removeprefix("response.") for event in found]
    shape = [kind for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1]]
    assert shape == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert {event["output_index"] for event in found if "output_index" in event} == {0, 1}
    done = found[-1]["response"]
    assert [event["item"] for event in found if "output_item.done" in event["type"]] == (
        done["output"]
    )


def test_a_cut_response_is_incomplete(server: Served) -> None:
    done = server.post(PATH, asked(max_output_tokens=4)).json()
    assert done["status"] == "incomplete"
    assert done["incomplete_details"] == {"reason": "max_output_tokens"}
    assert done["usage"]["output_tokens"] == 4
    assert done["output"][-1]["content"][0]["text"]
    last = events(server.post(PATH, asked(max_output_tokens=4, stream=True)).text)[-2]
    assert last["type"] == "response.incomplete"


def test_effort_none_has_no_reasoning_item(server: Served) -> None:
    done = server.post(PATH, asked(reasoning={"effort": "none"})).json()
    assert [item["type"] for item in done["output"]] == ["message"]
    assert done["usage"]["output_tokens_details"]["reasoning_tokens"] == 0


def test_a_round_trip_of_items(client: Any) -> None:
    first = client.responses.create(**asked(instructions="Be brief."))
    items = [*TURNS, *(item.model_dump(exclude_none=True) for item in first.output), *TURNS]
    second = client.responses.create(**asked(input=items, instructions="Be brief."))
    assert second.output_text
    assert second.usage.input_tokens_details.cached_tokens > 20
    assert second.usage.input_tokens > first.usage.input_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_goes_on_with_the_one_before(server: Served, stream: bool) -> None:
    body = asked(stream=stream, instructions="Be brief.")
    said = server.post(PATH, body)
    first = events(said.text)[-2]["response"] if stream else said.json()
    second = server.post(PATH, asked(previous_response_id=first["id"], input="And now?")).json()
    assert second["previous_response_id"] == first["id"]
    whole = [
        *TURNS,
        first["output"][0],
        first["output"][1],
        {"role": "user", "content": "And now?"},
    ]
    same = server.post(PATH, asked(input=whole)).json()
    assert second["usage"]["input_tokens"] == same["usage"]["input_tokens"]
    third = server.post(PATH, asked(previous_response_id=second["id"])).json()
    assert third["usage"]["input_tokens"] > second["usage"]["input_tokens"]


def test_what_is_not_kept_cannot_be_gone_on_with(server: Served) -> None:
    unkept = server.post(PATH, asked(store=False)).json()
    assert unkept["store"] is False
    for id in (unkept["id"], "resp_1"):
        answer = server.post(PATH, asked(previous_response_id=id))
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "previous_response_not_found"


def test_what_is_kept_is_bounded() -> None:
    def running(text: str) -> Any:
        request = SimpleNamespace(messages=(Message("user", text),))
        return SimpleNamespace(request=request, given=Given())

    kept = Conversations(most=2, most_chars=100)
    for id, text in (("a", "x" * 10), ("b", "y" * 10), ("c", "z" * 10)):
        kept.keep(id, running(text), Answer("ok"))
    assert list(kept._kept) == ["b", "c"]
    kept.keep("d", running("w" * 80), Answer("ok"))
    assert list(kept._kept) == ["c", "d"]
    kept.keep("e", running("v" * 200), Answer("ok"))
    assert (list(kept._kept), kept._num_chars) == ([], 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", None),
        ("input", []),
        ("input", [3]),
        ("input", [{"type": "function_call", "call_id": "1"}, *TURNS]),
        ("input", [{"type": "computer_call"}, *TURNS]),
        ("input", [{"type": "reasoning", "summary": "x"}, *TURNS]),
        ("input", [{"role": "user", "content": [{"type": "input_image"}]}]),
        ("previous_response_id", 3),
        ("background", True),
        ("store", "yes"),
        ("truncation", "auto"),
        ("text", {"format": {"type": "json_schema", "name": "x"}}),
        ("tools", [{"type": "function", "name": "f g"}]),
        ("n", 2),
        ("top_logprobs", 2),
        ("reasoning", {"effort": "enormous"}),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Served, field: str, value: Any) -> None:
    answer = server.post(PATH, asked(**{field: value}))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert field in error["message"]
    assert field in error["param"]

"""Tools in every dialect, by the official packages and by hand: a call out, its result in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from edgereason.records import ToolCall
from edgereason.server.errors import ApiError
from edgereason.server.fields import Given
from edgereason.server.tools import paired, read_calls, tools_of
from support.replies import events
from support.scripted_tools import ANSWER, ASKED, CLOCK, THOUGHT, WEATHER, make
from support.served import Served, served

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
ollama = pytest.importorskip("ollama")

PATH: Final = "/v1/chat/completions"
TOOLS: Final = [{"type": "function", "function": WEATHER}, {"type": "function", "function": CLOCK}]
ROME: Final = {"city": "Rome", "days": 2}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("models") / "caller"
    with served(make(folder)) as running:
        yield running


@pytest.fixture
def client(caller: Served) -> Any:
    with openai.OpenAI(base_url=f"{caller.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def of_ollama(caller: Served) -> Any:
    made = ollama.Client(host=caller.url)
    yield made
    made._client.close()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def chat(caller: Served, text: str, **more: Any) -> Any:
    body = {"model": "caller", "messages": user(text), "tools": TOOLS, **more}
    answer = caller.post(PATH, body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


# --- chat completions -----------------------------------------------------------------------------


def test_a_call_and_its_result_by_the_openai_package(client: Any) -> None:
    turns: Any = user(ASKED)
    done = client.chat.completions.create(model="caller", messages=turns, tools=TOOLS)
    choice = done.choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "One moment."
    assert choice.message.reasoning_content == THOUGHT
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ROME)
    turns += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    after = client.chat.completions.create(model="caller", messages=turns, tools=TOOLS)
    assert after.choices[0].message.content == ANSWER
    assert after.choices[0].finish_reason == "stop"
    assert after.usage.prompt_tokens_details.cached_tokens > 0


def test_a_stream_says_the_same_by_the_openai_package(client: Any) -> None:
    whole = client.chat.completions.create(model="caller", messages=user(ASKED), tools=TOOLS)
    with client.chat.completions.stream(
        model="caller", messages=user(ASKED), tools=TOOLS
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0]
    said = whole.choices[0].message
    assert final.finish_reason == "tool_calls"
    assert final.message.content == said.content
    (one,), (other,) = final.message.tool_calls, said.tool_calls
    assert (one.function.name, one.function.arguments) == (
        other.function.name,
        other.function.arguments,
    )
    assert one.id


def test_several_calls_or_one_alone(caller: Served) -> None:
    both = chat(caller, "Rome and the time?")["message"]
    assert [call["function"]["name"] for call in both["tool_calls"]] == ["weather", "clock"]
    assert both["content"] is None
    assert len({call["id"] for call in both["tool_calls"]}) == 2
    one = chat(caller, "Rome and the time?", parallel_tool_calls=False)
    assert [call["function"]["name"] for call in one["message"]["tool_calls"]] == ["weather"]
    assert one["finish_reason"] == "tool_calls"


def test_a_call_that_opens_inside_thinking_ends_it(caller: Served) -> None:
    choice = chat(caller, "Call early.")
    assert choice["message"]["reasoning_content"] == "Early"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["clock"]


def test_a_malformed_call_is_text_and_not_lost(caller: Served) -> None:
    choice = chat(caller, "Call badly.")
    assert '"nobody"' in choice["message"]["content"]
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    found = events(
        caller.post(
            PATH,
            {"model": "caller", "messages": user("Call badly."), "tools": TOOLS, "stream": True},
        ).text
    )
    deltas = [e["choices"][0]["delta"].get("content") or "" for e in found if e != "[DONE]"]
    assert "".join(deltas) == choice["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("effort", ["none", "high"])
def test_a_named_function_is_called(caller: Served, effort: str, stream: bool) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    body = {"tool_choice": named, "reasoning_effort": effort, "stream": stream}
    answer = caller.post(
        PATH, {"model": "caller", "messages": user("Say."), "tools": TOOLS, **body}
    )
    if stream:
        deltas = [e["choices"][0]["delta"] for e in events(answer.text) if e != "[DONE]"]
        parts = [part for d in deltas for part in d.get("tool_calls", ())]
        name = parts[0]["function"]["name"]
        arguments = "".join(part["function"]["arguments"] for part in parts)
    else:
        (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
        name, arguments = call["function"]["name"], call["function"]["arguments"]
    assert (name, json.loads(arguments)) == ("weather", {"city": "Oslo"})


def test_required_opens_a_call_and_leaves_the_name(caller: Served) -> None:
    choice = chat(caller, "Say.", tool_choice="required")
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["clock"]


@pytest.mark.parametrize("name", ["weather", ""])
def test_a_call_that_is_asked_for_fits_its_schema_whatever_the_model_writes(
    caller: Served, name: str
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    chosen = {"type": "function", "function": {"name": name}} if name else "required"
    choice = chat(caller, "Misuse.", tool_choice=chosen, max_tokens=120)
    call = choice["message"]["tool_calls"][0]["function"]
    (tool,) = (tool for tool in (WEATHER, CLOCK) if tool["name"] == call["name"])
    jsonschema.validate(json.loads(call["arguments"]), tool["parameters"])


def test_none_calls_nothing_and_shows_no_tools(caller: Served) -> None:
    body = {"model": "caller", "messages": user(ASKED), "tools": TOOLS, "tool_choice": "none"}
    done = caller.post(PATH, body).json()
    assert "<tool_call>" in done["choices"][0]["message"]["content"]
    assert done["edgereason"]["ignored"] == ["tools"]
    without = caller.post(PATH, {"model": "caller", "messages": user(ASKED)}).json()
    assert done["usage"]["prompt_tokens"] == without["usage"]["prompt_tokens"]


def test_tools_that_are_no_functions_are_left_out_and_named(caller: Served) -> None:
    more = [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [TOOLS[0]]}]
    body = {"model": "caller", "messages": user(ASKED), "tools": more}
    done = caller.post(PATH, body).json()
    assert done["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert done["edgereason"]["ignored"] == ['tools[0] ("web_search")']


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "nobody"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"strategy": "vote"}, "vote does not call tools"),
    ],
)
def test_what_cannot_be_called_is_refused(caller: Served, more: Any, said: str) -> None:
    body = {"model": "caller", "messages": user(ASKED), "tools": TOOLS, **more}
    answer = caller.post(PATH, body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_truncated_call_in_the_history_is_no_error(caller: Served) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    turns = [
        *user(ASKED),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "sunny"}]},
    ]
    done = caller.post(PATH, {"model": "caller", "messages": turns, "tools": TOOLS})
    assert done.json()["choices"][0]["message"]["content"] == ANSWER


# --- the other dialects ---------------------------------------------------------------------------


def test_responses_there_and_back(client: Any) -> None:
    tools: Any = [{"type": "function", "strict": False, **WEATHER}]
    with client.responses.stream(model="caller", input=ASKED, tools=tools) as stream:
        for _ in stream:
            pass
        first = stream.get_final_response()
    kinds = [item.type for item in first.output]
    assert kinds == ["reasoning", "message", "function_call"]
    call = first.output[-1]
    assert (call.name, json.loads(call.arguments)) == ("weather", ROME)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    chained = client.responses.create(
        model="caller", input=[result], previous_response_id=first.id, tools=tools
    )
    assert chained.output_text == ANSWER
    items = [{"role": "user", "content": ASKED}, *first.output, result]
    whole = client.responses.create(model="caller", input=items, tools=tools)
    assert whole.output_text == ANSWER


def test_responses_plain_and_as_a_stream_have_the_same_items(client: Any) -> None:
    tools: Any = [{"type": "function", "strict": False, **WEATHER}]
    plain = client.responses.create(model="caller", input=ASKED, tools=tools)
    assert [item.type for item in plain.output] == ["reasoning", "message", "function_call"]
    assert plain.tool_choice == "auto"
    assert plain.tools[0].name == "weather"


ANTHROPIC: Final = [
    {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
    for f in (WEATHER, CLOCK)
]


@pytest.mark.parametrize("stream", [False, True])
def test_messages_there_and_back(caller: Served, stream: bool) -> None:
    with anthropic.Anthropic(base_url=caller.url, api_key="none", max_retries=0) as client:
        asked: Any = {
            "model": "caller",
            "max_tokens": 400,
            "tools": ANTHROPIC,
            "thinking": {"type": "enabled", "budget_tokens": 100},
        }
        turns: Any = user(ASKED)
        if stream:
            with client.messages.stream(messages=turns, **asked) as events_of:
                done = events_of.get_final_message()
        else:
            done = client.messages.create(messages=turns, **asked)
        assert [block.type for block in done.content] == ["thinking", "text", "tool_use"]
        assert done.stop_reason == "tool_use"
        use = done.content[-1]
        assert (use.name, use.input) == ("weather", ROME)
        blocks = [block.model_dump(exclude_none=True) for block in done.content]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        turns += [{"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
        after = client.messages.create(messages=turns, **asked)
        assert after.content[-1].text == ANSWER


def test_messages_choose_tools_in_their_own_words(caller: Served) -> None:
    body = {
        "model": "caller",
        "max_tokens": 300,
        "messages": user("Say."),
        "tools": ANTHROPIC,
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    }
    done = caller.post("/v1/messages", body).json()
    assert [(b["name"], b["input"]) for b in done["content"]] == [("weather", {"city": "Oslo"})]
    counted = caller.post("/v1/messages/count_tokens", {**body, "tool_choice": {"type": "auto"}})
    fewer = caller.post("/v1/messages/count_tokens", {**body, "tool_choice": {"type": "none"}})
    assert counted.json()["input_tokens"] > fewer.json()["input_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_there_and_back(of_ollama: Any, stream: bool) -> None:
    client = of_ollama
    turns: Any = user(ASKED)
    made = client.chat(model="caller", messages=turns, tools=TOOLS, stream=stream)
    parts = [part.message for part in made] if stream else [made.message]
    calls = [call for part in parts for call in part.tool_calls or ()]
    assert [(c.function.name, dict(c.function.arguments)) for c in calls] == [("weather", ROME)]
    said = {"role": "assistant", "content": "", "tool_calls": [calls[0].model_dump()]}
    turns += [said, {"role": "tool", "tool_name": "weather", "content": "sunny"}]
    after = client.chat(model="caller", messages=turns, tools=TOOLS)
    assert after.message.content == ANSWER


# --- parts ----------------------------------------------------------------------------------------


def test_results_without_an_id_answer_the_first_open_call() -> None:
    from edgereason.records import Message

    calls = (ToolCall("a", {}, "1"), ToolCall("b", {}, "2"))
    turns = [
        Message("assistant", "", calls=calls),
        Message("tool", "x"),
        Message("tool", "y"),
        Message("tool", "z"),
    ]
    assert [turn.call_id for turn in paired(turns)] == ["", "1", "2", ""]


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    made = [{"function": {"name": "f", "arguments": text}} for text in ("[1]", "", '{"a": 1}')]
    found = [dict(call.arguments) for call in read_calls(made, "x")]
    assert found == [{"arguments": "[1]"}, {}, {"a": 1}]


def test_too_many_tools_are_refused() -> None:
    from edgereason.server.tools import list_of_tools

    with pytest.raises(ApiError, match="at most 512"):
        list_of_tools([{}] * 513, "tools")
    assert tools_of(Given()) is None

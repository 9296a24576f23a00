"""Answers of a given form, in each dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.replies import QUESTION, THOUGHT, TURNS, asked, events
from support.served import Served

pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema")

CHAT = "/v1/chat/completions"
SCHEMA = {
    "type": "object",
    "properties": {"result": {"type": "integer"}, "unit": {"enum": ["m", "kg"]}},
    "required": ["result", "unit"],
    "additionalProperties": False,
}
OPENAI = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}


def content(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": OPENAI},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA}},
        {"json_schema": SCHEMA},
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
    ],
    ids=lambda more: json.dumps(more)[:50],
)
def test_a_schema_by_all_its_names(server: Served, more: Any) -> None:
    done = server.post(CHAT, asked(max_tokens=200, **more)).json()
    jsonschema.validate(json.loads(content(done)), SCHEMA)
    assert done["choices"][0]["message"]["reasoning_content"] == THOUGHT
    assert done["choices"][0]["finish_reason"] == "stop"
    assert done["edgereason"]["ignored"] == []


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        ({"guided_choice": ["left", "right"]}, ("left", "right")),
        ({"structured_outputs": {"choice": ["left", "right"]}}, ("left", "right")),
        ({"guided_regex": "ab|cd"}, ("ab", "cd")),
        ({"structured_outputs": {"regex": "ab|cd"}}, ("ab", "cd")),
        ({"grammar": 'root ::= "ab" | "cd"'}, ("ab", "cd")),
        ({"guided_grammar": 'start: "ab" | "cd"'}, ("ab", "cd")),
        ({"response_format": {"type": "text"}}, ("51",)),
        ({"grammar": ""}, ("51",)),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_other_forms(server: Served, more: Any, texts: tuple[str, ...]) -> None:
    assert content(server.post(CHAT, asked(max_tokens=200, **more)).json()) in texts


def test_any_object(server: Served) -> None:
    for more in (
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"json_object": True}},
    ):
        done = server.post(CHAT, asked(max_tokens=90, **more)).json()
        assert isinstance(json.loads(content(done)), dict)


@pytest.mark.parametrize("max_tokens", [1, 2, 5, 9, 20, 60])
def test_a_short_budget_still_gives_json(server: Served, max_tokens: int) -> None:
    body = asked(max_tokens=max_tokens, thinking_token_budget=0, response_format=OPENAI)
    done = server.post(CHAT, body).json()
    json.loads(content(done))
    assert done["usage"]["completion_tokens"] <= max_tokens
    streamed = events(server.post(CHAT, {**body, "stream": True}).text)
    deltas = [event["choices"][0]["delta"] for event in streamed[:-1] if event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == content(done)


def test_the_openai_package(server: Served) -> None:
    openai = pytest.importorskip("openai")
    pydantic = pytest.importorskip("pydantic")

    class Result(pydantic.BaseModel):
        result: int
        unit: str

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        parsed = client.chat.completions.parse(
            model="scripted", messages=TURNS, response_format=Result, max_tokens=400
        )
        assert isinstance(parsed.choices[0].message.parsed, Result)
        said = client.responses.parse(
            model="scripted", input=QUESTION, text_format=Result, max_output_tokens=400
        )
        assert isinstance(said.output_parsed, Result)
        assert said.text.format.type == "json_schema"


def test_the_ollama_package(server: Served, request: pytest.FixtureRequest) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    request.addfinalizer(client._client.close)
    done = client.chat(
        model="scripted", messages=TURNS, format=SCHEMA, options={"num_predict": 200}
    )
    jsonschema.validate(json.loads(done.message.content), SCHEMA)
    done = client.generate(
        model="scripted", prompt=QUESTION, format="json", options={"num_predict": 90}
    )
    assert isinstance(json.loads(done.response), dict)


def test_messages_of_anthropic(server: Served) -> None:
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    done = server.post("/v1/messages", asked(max_tokens=200, output_config=form)).json()
    (block,) = (block for block in done["content"] if block["type"] == "text")
    jsonschema.validate(json.loads(block["text"]), SCHEMA)


@pytest.mark.parametrize(
    ("more", "param", "said"),
    [
        ({"json_schema": {"not": {}}}, "json_schema", "not"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
            "response_format",
            "not",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", "xml"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format",
            "schema",
        ),
        ({"response_format": "json"}, "response_format", "object"),
        ({"json_schema": 3}, "json_schema", "JSON schema"),
        ({"guided_json": "{"}, "guided_json", "not JSON"),
        ({"guided_choice": []}, "guided_choice", "choice"),
        ({"guided_choice": "left"}, "guided_choice", "list"),
        ({"guided_choice": ["a", 3]}, "guided_choice", "choice"),
        ({"guided_regex": "["}, "guided_regex", "regular expression"),
        ({"grammar": "root ::= missing"}, "grammar", "GBNF"),
        ({"structured_outputs": {}}, "structured_outputs", "one of"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "one of"),
        (
            {"structured_outputs": {"structural_tag": "x"}},
            "structured_outputs.structural_tag",
            "known",
        ),
        ({"json_schema": SCHEMA, "guided_regex": "a"}, "json_schema, guided_regex", "says"),
        ({"json_schema": SCHEMA, "stop": ["x"]}, "json_schema, stop", "exclude each other"),
        ({"json_schema": SCHEMA, "strategy": "program"}, None, "takes no grammar"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_is_wrong_is_named(server: Served, more: Any, param: str | None, said: str) -> None:
    reply = server.post(CHAT, asked(**more))
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]
    assert reply.json()["error"]["param"] == param

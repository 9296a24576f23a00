"""llama.cpp's own endpoints: `/completion`, prompts of conversations, counts of tokens."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from support.replies import TURNS, asked, events
from support.served import Served

SCRIPT: Final = "What is 17 * 3?<|im_end|>\n<|im_start|>assistant\n<think>\n"


def complete(server: Served, **more: Any) -> Any:
    body = {"model": "nano", "prompt": "1 + 1 =", "temperature": 0, "n_predict": 5, **more}
    answer = server.post("/completion", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_text_goes_on_as_in_the_completions_of_openai(server: Served) -> None:
    done = complete(server)
    body = {"model": "nano", "prompt": "1 + 1 =", "temperature": 0, "max_tokens": 5}
    same = server.post("/v1/completions", body).json()
    assert done["content"] == same["choices"][0]["text"]
    assert (done["stop"], done["stop_type"], done["tokens_predicted"]) == (True, "limit", 5)
    assert done["tokens_evaluated"] == same["usage"]["prompt_tokens"]
    assert done["generation_settings"]["n_predict"] == 5
    assert done["tokens"] == []
    assert len(complete(server, return_tokens=True)["tokens"]) == 5


def test_a_stream_says_the_same(server: Served) -> None:
    body = {"model": "scripted", "prompt": SCRIPT, "n_predict": 30}
    whole = server.post("/completion", body).json()
    *pieces, last = events(server.post("/completion", {**body, "stream": True}).text)
    assert "".join(piece["content"] for piece in pieces) == whole["content"] != ""
    assert not any(piece["stop"] for piece in pieces)
    assert (last["stop"], last["content"]) == (True, "")
    assert last["tokens_predicted"] == whole["tokens_predicted"]


def test_stop_texts_are_named(server: Served) -> None:
    body = {"model": "scripted", "prompt": SCRIPT, "stop": [" is"], "n_predict": 99}
    done = server.post("/completion", body).json()
    assert (done["content"], done["stop_type"]) == ("Three times ten", "word")
    assert done["stopping_word"] == " is"


def test_several_prompts_are_a_list(server: Served) -> None:
    tokens = server.post("/tokenize", {"model": "nano", "content": "1 + 1 ="}).json()["tokens"]
    done = complete(server, prompt=[tokens, "1 + 1 =", {"prompt_string": "1 + 1 ="}])
    assert [one["index"] for one in done] == [0, 1, 2]
    assert len({one["content"] for one in done}) == 1
    refused = server.post("/completion", {"model": "nano", "prompt": {"multimodal_data": "x"}})
    assert refused.status_code == 400


def test_only_what_is_asked_for_is_told(server: Served) -> None:
    names = ["content", "generation_settings/n_predict", "no/such"]
    found = complete(server, response_fields=names)
    assert set(found) == set(names[:2])
    assert found["generation_settings/n_predict"] == 5


def test_each_token_is_told_with_the_likeliest(server: Served) -> None:
    entries = complete(server, n_probs=3)["completion_probabilities"]
    assert len(entries) == 5
    for entry in entries:
        assert entry["id"] == entry["top_logprobs"][0]["id"]  # greedy
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == 3


def test_without_a_limit_a_text_fills_the_context_and_no_more(server: Served) -> None:
    done = complete(server, n_predict=-1, temperature=1.0, seed=3)
    assert done["tokens_predicted"] + done["tokens_evaluated"] <= 512
    assert done["stop_type"] in ("limit", "eos")
    none = complete(server, n_predict=0)
    assert (none["content"], none["tokens_predicted"]) == ("", 0)


def test_a_bias_is_an_object_or_pairs(server: Served) -> None:
    first = complete(server, n_predict=1, return_tokens=True)["tokens"][0]
    for bias in ({str(first): -100}, [[first, -100]], [[first, False]]):
        done = complete(server, n_predict=1, return_tokens=True, logit_bias=bias)
        assert done["tokens"][0] != first
    for bias in ([[first]], [["1", -1]], [first], "x"):
        body = {"model": "nano", "prompt": "1", "logit_bias": bias}
        assert server.post("/completion", body).status_code == 400


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_a_text_can_be_held_to_a_form(server: Served, path: str) -> None:
    pytest.importorskip("llguidance")
    body = {"model": "nano", "prompt": "1 + 1 =", "grammar": 'root ::= "a"{5}'}
    done = server.post(path, body).json()
    assert done.get("content", done.get("choices", [{}])[0].get("text")) == "aaaaa"
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = {"model": "nano", "prompt": "1 + 1 =", "json_schema": schema, "max_tokens": 4}
    done = server.post(path, body).json()
    json.loads(done.get("content", done.get("choices", [{}])[0].get("text")))
    body["grammar"] = "root ::= this is (not GBNF"
    assert server.post(path, body).status_code == 400


@pytest.mark.parametrize(
    "more", [{"ignore_eos": True}, {"t_max_predict_ms": 5}, {"post_sampling_probs": True}]
)
def test_what_would_change_the_output_is_refused(server: Served, more: dict[str, Any]) -> None:
    answer = server.post("/completion", {"model": "nano", "prompt": "1", **more})
    assert answer.status_code == 400
    assert next(iter(more)) in answer.json()["error"]["message"]


def test_a_prompt_of_a_conversation_is_the_one_that_is_answered(server: Served) -> None:
    for more in ({}, {"reasoning_effort": "none"}):
        prompt = server.post("/apply-template", asked(**more)).json()["prompt"]
        counted = server.post("/tokenize", {"model": "scripted", "content": prompt}).json()["count"]
        done = server.post("/v1/chat/completions", asked(**more)).json()
        assert counted == done["usage"]["prompt_tokens"]
    assert prompt.endswith("<think>\n\n</think>\n\n")
    begun = [*TURNS, {"role": "assistant", "content": "It is"}]
    prompt = server.post("/apply-template", asked(messages=begun)).json()["prompt"]
    assert prompt.endswith("It is")


def test_tokens_of_a_prompt_are_counted_in_every_dialect(server: Served) -> None:
    used = server.post("/v1/chat/completions", asked()).json()["usage"]["prompt_tokens"]
    for path in ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"):
        assert server.post(path, asked()).json() == {"input_tokens": used}
    body = {"model": "scripted", "input": TURNS}
    counted = server.post("/v1/responses/input_tokens", body).json()
    assert counted == {"object": "response.input_tokens", "input_tokens": used}


def test_v1_may_be_left_out(server: Served) -> None:
    long, short = (
        server.post(path, asked()).json() for path in ("/v1/chat/completions", "/chat/completions")
    )
    assert long["choices"] == short["choices"]
    assert server.get("/models").json() == server.get("/v1/models").json()


def test_pieces_of_a_text(server: Served) -> None:
    body = {"model": "scripted", "content": "a媽", "with_pieces": True}
    pieces = server.post("/tokenize", body).json()["tokens"]
    said = b"".join(
        bytes(one["piece"]) if isinstance(one["piece"], list) else one["piece"].encode()
        for one in pieces
    )
    assert said.decode() == "a媽"

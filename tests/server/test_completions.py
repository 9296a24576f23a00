"""Completions: texts and tokens to go on with, scores of both, several at once; scores in chat."""

from __future__ import annotations

import math
from typing import Any, Final

import pytest

from support.replies import TURNS, asked, events
from support.served import Served

openai = pytest.importorskip("openai")

PATH: Final = "/v1/completions"
CHAT: Final = "/v1/chat/completions"
SCRIPT: Final = "What is 17 * 3?<|im_end|>\n<|im_start|>assistant\n<think>\n"


@pytest.fixture
def client(server: Served) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def complete(server: Served, **more: Any) -> Any:
    answer = server.post(PATH, {"model": "nano", "prompt": "1 + 1 =", "temperature": 0, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_by_the_openai_package(client: Any) -> None:
    done = client.completions.create(model="scripted", prompt=SCRIPT, max_tokens=30)
    assert done.object == "text_completion"
    assert done.choices[0].text.startswith("Three times ten is")
    assert done.choices[0].finish_reason == "length"
    assert done.usage.completion_tokens == 30
    pieces = client.completions.create(model="scripted", prompt=SCRIPT, max_tokens=30, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == done.choices[0].text


def test_blanks_at_the_ends_are_part_of_the_text(server: Served) -> None:
    body = {"model": "scripted", "prompt": "makes fifty one.\n</think>", "max_tokens": 3}
    assert server.post(PATH, body).json()["choices"][0]["text"] == "\n\n5"
    chunks = events(server.post(PATH, {**body, "stream": True}).text)
    texts = [chunk["choices"][0]["text"] for chunk in chunks if chunk != "[DONE]"]
    assert "".join(texts) == "\n\n5"


def test_tokens_are_taken_as_they_are(server: Served) -> None:
    tokens = server.post("/tokenize", {"model": "nano", "content": "1 + 1 ="}).json()["tokens"]
    by_tokens = complete(server, prompt=tokens)
    assert by_tokens["usage"]["prompt_tokens"] == len(tokens)
    assert (
        by_tokens["choices"][0]["text"] == complete(server, prompt=[tokens])["choices"][0]["text"]
    )


def test_several_prompts_and_several_answers(server: Served) -> None:
    one, two = complete(server), complete(server, prompt="2 + 2 =")
    both = complete(server, prompt=["1 + 1 =", "2 + 2 ="], n=2)
    texts = [choice["text"] for choice in both["choices"]]
    first, second = one["choices"][0]["text"], two["choices"][0]["text"]
    assert texts == [first, first, second, second]  # greedy: all of a prompt are the same
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    prompts = one["usage"]["prompt_tokens"] + two["usage"]["prompt_tokens"]
    assert both["usage"]["prompt_tokens"] == prompts
    drawn = complete(server, n=4, temperature=1.5, seed=7)
    assert len({choice["text"] for choice in drawn["choices"]}) > 1


def test_stop_texts_end_it_and_are_left_out(server: Served) -> None:
    body = {"model": "scripted", "prompt": SCRIPT, "max_tokens": 99, "stop": [" is"]}
    choice = server.post(PATH, body).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("Three times ten", "stop")


def test_echo_scores_the_prompt_as_evaluations_by_choice_want_it(server: Served) -> None:
    done = complete(server, max_tokens=1, echo=True, logprobs=1)
    choice = done["choices"][0]
    scores = choice["logprobs"]
    num = done["usage"]["prompt_tokens"]
    assert choice["text"].startswith("1 + 1 =")
    assert len(scores["tokens"]) == num + done["usage"]["completion_tokens"]
    assert scores["token_logprobs"][0] is scores["top_logprobs"][0] is None
    for logprob, top in zip(scores["token_logprobs"][1:], scores["top_logprobs"][1:], strict=True):
        assert -50 < logprob <= 0
        assert logprob in top.values()
        assert logprob <= max(top.values())
    assert scores["token_logprobs"][-1] == max(scores["top_logprobs"][-1].values())  # greedy
    assert scores["text_offset"][:2] == [0, len(scores["tokens"][0])]


def test_a_prompt_can_be_scored_alone(server: Served) -> None:
    done = complete(server, max_tokens=0, echo=True, logprobs=0)
    assert done["choices"][0]["text"] == "1 + 1 ="
    assert done["usage"]["completion_tokens"] == 0
    longer = complete(server, max_tokens=1, echo=True, logprobs=0)["choices"][0]["logprobs"]
    scores = done["choices"][0]["logprobs"]["token_logprobs"]
    assert scores[1:] == pytest.approx(longer["token_logprobs"][1 : len(scores)], abs=1e-4)


def test_scores_are_the_same_whatever_was_read_before(server: Served) -> None:
    def scores() -> list[float]:
        done = complete(server, max_tokens=1, echo=True, logprobs=0)
        return done["choices"][0]["logprobs"]["token_logprobs"][1:]

    first = scores()
    complete(server, prompt="1 + 1 = 2 and")
    assert scores() == pytest.approx(first, abs=1e-4)


def test_chat_tells_how_likely_each_token_was(client: Any) -> None:
    asked_for: Any = {"model": "nano", "messages": TURNS, "logprobs": True, "top_logprobs": 3}
    done = client.chat.completions.create(**asked_for, max_tokens=60, temperature=0)
    content = done.choices[0].logprobs.content
    assert len(content) == done.edgereason["answer"]["used"]
    said = b"".join(bytes(entry.bytes) for entry in content).decode(errors="replace")
    assert said.strip() == done.choices[0].message.content
    for entry in content:
        assert entry.logprob == max(top.logprob for top in entry.top_logprobs)  # greedy
        assert len(entry.top_logprobs) == 3
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1.001
    chunks = client.chat.completions.create(**asked_for, max_tokens=60, temperature=0, stream=True)
    streamed = [
        entry.token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for entry in choice.logprobs.content
    ]
    assert streamed == [entry.token for entry in content]


def test_several_answers_of_chat(server: Served) -> None:
    done = server.post(CHAT, asked(n=3)).json()
    assert [choice["index"] for choice in done["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in done["choices"]} == {"51"}
    one = server.post(CHAT, asked()).json()["usage"]
    assert done["usage"]["prompt_tokens"] == one["prompt_tokens"]
    assert done["usage"]["completion_tokens"] == 3 * one["completion_tokens"]
    assert len(done["edgereason"]["answers"]) == 3
    refused = server.post(CHAT, asked(n=2, stream=True))
    assert refused.status_code == 400
    assert "2 answers are told together" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", []),
        ("prompt", [[]]),
        ("prompt", [1, "a"]),
        ("prompt", 3),
        ("prompt", [-1]),
        ("prompt", [10**7]),
        ("prompt", [True]),
        ("suffix", "x"),
        ("best_of", 2),
        ("logprobs", 21),
        ("logprobs", -1),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("n", 17),
        ("thinking_budget", 3),
        ("messages", TURNS),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Served, field: str, value: Any) -> None:
    body = {"model": "nano", "prompt": "1", field: value}
    answer = server.post(PATH, body)
    if field in ("thinking_budget", "messages"):  # names that mean nothing here are listed
        assert field in answer.json()["edgereason"]["ignored"]
        return
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]["message"]


def test_a_prompt_that_is_too_long_is_never_cut(server: Served) -> None:
    answer = server.post(PATH, {"model": "nano", "prompt": "1 + " * 2000})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"

"""Raw texts: no template, scores of what was given and of what followed, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgereason import _core
from edgereason.errors import UsageError
from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.runtime.reasoner import Reasoner

TEXT = "x = 3\ny = x + 4\n"


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum())
    return result


def test_scores_are_those_of_the_engine() -> None:
    bundle = open_bundle(resolve("nano"))
    engine = _core.LlamaEngine(model_file(bundle), context=256, max_seqs=1)
    tokens = engine.tokenize(TEXT, parse_control=True)
    wanted = []
    for at, token in enumerate(tokens):
        engine.decode([(0, at, token, True)])
        logits = engine.logits(0)
        assert logits is not None
        wanted.append(log_softmax(logits))
    with Reasoner.open("nano", threads=1) as reasoner:
        handle = reasoner.submit(
            TEXT, strategy="raw", options={"score": True}, logprobs=2, answer_budget=1
        )
        handle.result()
        (result,) = handle.chains[0]
    first = 1 if len(result.prompt_scores) // 3 == len(tokens) else 0  # a bos stands before it
    for i, token in enumerate(tokens[1 - first :], start=0):
        rows = result.prompt_scores[3 * i : 3 * i + 3]
        assert rows[0][0] == token
        if first:
            continue
        best = np.argsort(-wanted[i], kind="stable")[:2]
        assert [row[0] for row in rows[1:]] == best.tolist()
        assert [row[1] for row in rows] == pytest.approx(
            [wanted[i][token], *wanted[i][best]], abs=2e-2
        )
    if not first:
        assert result.token_scores[1][1] == pytest.approx(wanted[-1].max(), abs=2e-2)


def test_the_text_goes_to_the_model_as_it_is() -> None:
    with Reasoner.open("nano") as reasoner:
        tokens = reasoner.engine.tokenize(TEXT, parse_control=True)
        by_text = reasoner.ask(TEXT, strategy="raw", answer_budget=8)
        by_tokens = reasoner.ask("-", strategy="raw", options={"tokens": tokens}, answer_budget=8)
    assert by_text.usage.prompt_tokens - len(tokens) in (0, 1)
    assert by_text.usage.prompt_tokens == len(tokens) == by_tokens.usage.prompt_tokens
    assert by_text.answer == by_tokens.answer
    assert by_text.reasoning == ""


def test_scoring_alone_answers_nothing() -> None:
    with Reasoner.open("nano") as reasoner:
        handle = reasoner.submit(TEXT, strategy="raw", options={"only_score": True})
        assert handle.result().answer == ""
        (result,) = handle.chains[0]
        assert len(result.prompt_scores) == handle.result().usage.prompt_tokens - 1
        assert result.tokens == ()


@pytest.mark.parametrize("logprobs", [-2, 21])
def test_wrong_numbers_of_scores(logprobs: int) -> None:
    with (
        Reasoner.open("nano") as reasoner,
        pytest.raises(UsageError, match=r"logprobs must be -1 \(off\) to 20"),
    ):
        reasoner.ask(TEXT, strategy="raw", logprobs=logprobs)

"""Out of edgereason into Ollama, and back: template, parameters, licence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason import Reasoner
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models import hub
from edgereason.models.bundle import Bundle, open_bundle, verify
from edgereason.models.go_template import to_jinja
from edgereason.models.hub import EMBEDDED
from edgereason.models.modelfile import go_template, modelfile
from edgereason.models.stores import ollama
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.standing import trusted_text
from edgereason.prompt.template import render_text
from edgereason.records import Message, Sampling
from support import chat_templates, model_stores
from support.cli_runner import Cli
from support.gguf_files import gguf_bytes, metadata
from support.tiny_models import write_model

KIND = "application/vnd.ollama.image."
CHATML_GO = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(ollama, "_SERVICE", tmp_path / "service")
    return tmp_path / "store"


def create(store: Path, model: bytes, **texts: str) -> None:
    """A model as `ollama create` leaves it."""
    layers = [(f"{KIND}model", model_stores.ollama_blob(store, model))]
    for kind, text in texts.items():
        layers.append((f"{KIND}{kind}", model_stores.ollama_blob(store, text.encode())))
    model_stores.ollama_manifest(store, "registry.example/library/mine/1b", layers)


def with_template(template: str) -> Bundle:
    nano = open_bundle(EMBEDDED / "nano")
    return replace(nano, chat_template=template, reasoning=detect_reasoning(template))


# --- out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CHATML", "QWEN3"])
def test_the_template_says_the_same(name: str) -> None:
    bundle = with_template(getattr(chat_templates, name))
    found = go_template(bundle)
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    talk.append({"role": "user", "content": "c"})
    for more in ({}, {"enable_thinking": False}):
        given = {"messages": talk, "add_generation_prompt": True, **more}
        assert render_text(to_jinja(found.text), given) == render_text(bundle.chat_template, given)
    assert (".IsThinkSet" in found.text) == (name == "QWEN3")


def test_a_system_message_of_the_templates_own_is_told_apart() -> None:
    template = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n"
        "{% endif %}" + chat_templates.CHATML
    )
    found = go_template(with_template(template))
    assert found.system == "You are kind."
    assert "kind" not in found.text


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("", "no chat template"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the texts"),
        ("Today.{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<a>", "before the"),
        (
            "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
            "{% if m.role == 'assistant' %}{{ loop.index }}{% endif %}{% endfor %}<assistant>",
            "one of Go's put together does not",
        ),
    ],
)
def test_what_cannot_be_said_in_go_is_left_out(template: str, what: str) -> None:
    bundle = with_template(template)
    with pytest.raises(UnsupportedError, match=what):
        go_template(bundle)
    text, notes = modelfile(bundle)
    assert "TEMPLATE" not in text
    assert any(what in note for note in notes)


def test_a_modelfile(cli: Cli, tmp_path: Path) -> None:
    nano = EMBEDDED / "nano"
    ran = cli("export", "modelfile", "nano", "--out", str(tmp_path / "Modelfile"))
    assert ran.code == 0, ran.err
    text = (tmp_path / "Modelfile").read_text()
    assert text.startswith(f"FROM {nano / 'model.gguf'}\n")
    assert "PARAMETER temperature 0\n" in text
    sampled = replace(open_bundle(nano), sampling=Sampling(temperature=0.6, top_p=0.95, top_k=20))
    lines = modelfile(sampled)[0].splitlines()
    assert {"PARAMETER temperature 0.6", "PARAMETER top_p 0.95", "PARAMETER top_k 20"} <= set(lines)
    assert not any("min_p" in line for line in lines)
    assert cli("export", "modelfile", "nano", "--out", str(tmp_path), "--json").code == 4


def test_what_ollama_cannot_open(cli: Cli, tmp_path: Path) -> None:
    parts = model_stores.split(tmp_path)
    with pytest.raises(UnsupportedError, match="split over 3 files"):
        modelfile(open_bundle(parts[0]))
    assert cli("export", "modelfile", "examples/scripted", "--out", str(tmp_path / "M")).code == 2


# --- in -------------------------------------------------------------------------------------------


def test_import(store: Path, cli: Cli) -> None:
    params = {"temperature": 0.7, "top_k": 40, "repeat_penalty": 1.1, "num_ctx": 4096}
    create(
        store,
        gguf_bytes(),
        template="{{ .Prompt }}",
        params=json.dumps(params | {"stop": ["<|im_end|>"]}),
        license="MIT License\n\nCopyright",
        system="Be kind.",
    )
    before = model_stores.snapshot(store)
    ran = cli("import", "ollama:mine:1b", "--as", "bundle")
    assert ran.code == 0, ran.err
    assert "note: num_ctx 4096 has no place in a bundle" in ran.err
    assert 'stop ["<|im_end|>"]' in ran.err
    bundle = open_bundle(hub.resolve("ollama:mine:1b"))
    verify(bundle)
    assert bundle.path.is_relative_to(hub.cache_dir())
    assert bundle.sampling == Sampling(temperature=0.7, top_k=40, repetition_penalty=1.1)
    assert (bundle.licence, bundle.source) == ("mit", "ollama:mine:1b")
    assert (bundle.path / "LICENSE").read_text().startswith("MIT License")
    prompt = thinking_prompt(bundle, [Message("user", "Hi")], False)
    assert trusted_text(prompt.segments).startswith("<|im_start|>system\nBe kind.<|im_end|>")
    told = thinking_prompt(bundle, [Message("system", "Be brief."), Message("user", "Hi")], False)
    assert "Be kind." not in trusted_text(told.segments)
    assert re.search(r"^from +ollama:mine:1b$", cli("show", "ollama:mine:1b").out, re.MULTILINE)
    names = [model["name"] for model in cli("list", "--all", "--json").json["models"]]
    assert names.count("ollama:mine:1b") == 1
    assert model_stores.snapshot(store) == before
    again = cli("import", "ollama:mine:1b")
    assert (again.code, "is there already" in again.err) == (2, True)


def test_a_file_without_a_template_gets_ollamas(store: Path, tmp_path: Path) -> None:
    data = metadata()
    del data["tokenizer.chat_template"]
    create(store, gguf_bytes(data), template=CHATML_GO)
    bundle, left = hub.adopt("ollama:mine:1b", tmp_path / "out")
    assert left == ()
    assert "<|im_start|>" in bundle.control_tokens
    prompt = thinking_prompt(bundle, [Message("user", "Hi")], False)
    assert trusted_text(prompt.segments).endswith("<|im_start|>assistant\n")


def test_whose_template(store: Path, tmp_path: Path) -> None:
    create(store, gguf_bytes(), template="{{ range .Messages }}*{{ .Content }}{{ end }}>")
    own, _ = hub.adopt("ollama:mine:1b", tmp_path / "own")
    theirs, _ = hub.adopt("ollama:mine:1b", tmp_path / "theirs", template="ollama")
    assert "<|im_start|>" in own.chat_template
    given = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}
    assert render_text(theirs.chat_template, given) == "*Hi>"


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ({"template": "{{ .Secret }}"}, UnsupportedError, r"not known here: \.Secret"),
        ({"params": "{"}, BundleError, "parameters cannot be read"),
        ({"params": '{"temperature": -1}'}, BundleError, "parameters are wrong: temperature"),
        ({"params": '{"top_k": "many"}'}, BundleError, "parameters are wrong"),
        ({}, UnsupportedError, "Ollama has no template"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(
    store: Path, tmp_path: Path, texts: dict[str, str], kind: type[Exception], message: str
) -> None:
    create(store, gguf_bytes(), **texts)
    with pytest.raises(kind, match=message):
        hub.adopt("ollama:mine:1b", tmp_path / "out", template="ollama")
    assert not (tmp_path / "out").exists()
    assert not any(tmp_path.glob(".out*"))


def test_what_is_not_there(store: Path, cli: Cli) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no ollama:gone"):
        hub.adopt("ollama:gone")
    with pytest.raises(UnsupportedError, match="only models of Ollama's store"):
        hub.adopt("smollm2-135m")
    create(store, gguf_bytes())
    with pytest.raises(UsageError, match="is there already"):
        hub.adopt("ollama:mine:1b", store)
    assert cli("import", "ollama:mine:1b", "--as", "onnx").code == 2


def test_out_and_in_again_it_says_the_same(store: Path, tmp_path: Path, cli: Cli) -> None:
    """As `ollama create` would take our Modelfile: the same prompts, sampling and answers."""
    weights = write_model(tmp_path / "tiny.gguf", "dense")
    first = open_bundle(weights)
    text, notes = modelfile(first)
    assert notes == ()
    (template,) = re.findall(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    params = {
        key: json.loads(value)
        for key, value in re.findall(r"^PARAMETER (\w+) (.*)$", text, re.MULTILINE)
        if key != "stop"
    }
    create(store, weights.read_bytes(), template=template, params=json.dumps(params))
    second, _ = hub.adopt("ollama:mine:1b", tmp_path / "back", template="ollama")
    assert second.sampling == first.sampling
    asked = {"strategy": "no-think", "answer_budget": 12}
    with Reasoner.open(weights, threads=1) as one, Reasoner.open(second.path, threads=1) as other:
        talk = [Message("system", "s"), Message("user", "he said")]
        answers = [each.ask(talk, **asked) for each in (one, other)]
    assert answers[0].answer == answers[1].answer
    assert answers[0].usage.prompt_tokens == answers[1].usage.prompt_tokens

"""Templates of Ollama in Jinja. What they must write was written by Go's text/template once: 930 of
930 prompts of 90 genuine templates were the same (docs/log.md); these are short ones of our own."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edgereason.errors import UnsupportedError
from edgereason.models.go_template import to_jinja
from edgereason.prompt.template import render_text

TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": 'Say "{{ hi }}"\n'},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "Again"},
]


def written(template: str, messages: Any = TALK, **more: Any) -> str:
    variables = {"messages": messages, "add_generation_prompt": True, **more}
    return render_text(to_jinja(template), variables)


CASES = [
    # one exchange at a time; what follows the answer is cut where the model goes on
    (
        "{{ if .System }}<s>{{ .System }}</s>\n{{ end }}U: {{ .Prompt }}\nA: {{ .Response }}</a>\n",
        '<s>Be short.</s>\nU: Say "{{ hi }}"\n\nA: hi</a>\nU: Again\nA: ',
    ),
    ("[{{ .Prompt }}]", '[Say "{{ hi }}"\n]hi[Again]'),
    ("{{ if .Response }}x{{ .Response }}y{{ end }}{{ .Prompt }}", 'xhiySay "{{ hi }}"\n'),
    # all at once
    (
        "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}<assistant>",
        '<system>Be short.<user>Say "{{ hi }}"\n<assistant>hi<user>Again<assistant>',
    ),
    ("{{ range .Messages }}\n  {{- .Role -}}  \n{{ end }}!", "systemuserassistantuser!"),
    (
        "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}"
        "{{ $i }}{{ if $last }}!{{ else }},{{ end }}{{ end }}",
        "0,1,2,3!",
    ),
    (
        '{{ $n := 0 }}{{ range .Messages }}{{ if eq .Role "user" }}{{ $n = .Content }}{{ end }}'
        "{{ end }}{{ $n }}{{ .System }}",
        "AgainBe short.",
    ),
    (
        '{{ range .Messages }}{{ if or (eq .Role "system") (ne .Role "user") }}{{ continue }}'
        "{{ end }}u{{ end }}",
        "uu",
    ),
    (
        '{{ range .Messages }}{{ if eq .Role "user" "system" }}x{{ else if .Content }}'
        "{{ .Content }}{{ end }}{{ end }}",
        "xxhix",
    ),
    (
        '{{ range .Messages }}{{ with .Content }}{{ "{{" }}{{ . }}{{ `\\` }}{{ end }}{{ end }}',
        '{{Be short.\\{{Say "{{ hi }}"\n\\{{hi\\{{Again\\',
    ),
    (
        "{{ range .Messages }}{{ if eq 3 (len $.Messages) }}x{{ else if len .Content | eq 2 }}y"
        "{{ end }}{{ end }}",
        "y",
    ),
    (
        "{{ if .Tools }}{{ range .Tools }}{{ .Function.Name }}{{ end }}{{ else }}none{{ end }}"
        "{{ range .Messages }}{{ if gt (len .ToolCalls) 0 }}t{{ end }}{{ end }}",
        "none",
    ),
    (
        "{{ range .Messages }}{{ .Thinking }}{{ json .Role }}{{ end }}{{/* a word */}}",
        '"system""user""assistant""user"',
    ),
]


@pytest.mark.parametrize(("template", "wanted"), CASES)
def test_it_writes_what_go_does(template: str, wanted: str) -> None:
    assert written(template) == wanted


def test_quotation_marks_without_an_end_take_no_time() -> None:
    started = time.monotonic()
    hostile = "{{ " + '"' * 2001
    assert written(hostile + "{{ range .Messages }}.{{ end }}") == hostile + "...."
    assert time.monotonic() - started < 5


def test_thinking_is_switched() -> None:
    template = (
        "{{ range .Messages }}{{ .Content }}{{ end }}"
        "{{ if and .IsThinkSet (not .Think) }}off{{ else if .Think }}on{{ .ThinkLevel }}{{ end }}"
    )
    ask = [{"role": "user", "content": "a"}]
    assert written(template, ask) == "aon"
    assert written(template, ask, enable_thinking=False) == "aoff"
    assert written(template, ask, enable_thinking=True, reasoning_effort="high") == "aonhigh"


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ('{{ printf "%s" .System }}', "printf of 2 values"),
        ("{{ .Secret }}", r"\.Secret"),
        ("{{ range .Messages }}{{ .Content }}", "without an end"),
        ("{{ end }}", "end"),
        ('{{ define "x" }}{{ end }}', "define"),
        ("{{ range .Messages }}{{ .Content.Length }}{{ end }}", r"\.Length"),
        ("{{ if ( }}{{ end }}", "if|\\(|known"),
        ("{{ .System ? 1 }}", r"\?"),
        ("{{ else }}", "else"),
        ("{{ . }}", "known here"),
        ("{{ if .System }}" * 2000 + "{{ end }}" * 2000, "nested too deeply"),
        ("{{ if " + "(" * 5000 + ".System" + ")" * 5000 + " }}{{ end }}", "nested too deeply"),
        ("x" * (1 << 19), "more than"),
        (r'{{ "\q" }}', "known here"),
        ("{{ len }}", "len of 0 values"),
    ],
)
def test_what_it_does_not_know_it_names(template: str, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        to_jinja(template)

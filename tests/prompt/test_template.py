"""Templates that are wrong or mean harm, and the process that renders them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgereason.errors import BundleError, UsageError
from edgereason.prompt import child as child_module
from edgereason.prompt import template
from edgereason.prompt.chat import render
from edgereason.prompt.child import Child, ChildError
from edgereason.prompt.template import literals_of, render_text, variables_of
from edgereason.records import Message, Segment
from support.chat_templates import CHATML, GEMMA, GPT_OSS, QWEN3, R1, SMOLLM3

THINK = ("<think>", "</think>")


def user(text: str) -> Message:
    return Message("user", text)


def text_of(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def test_a_refusal_is_the_callers_error() -> None:
    with pytest.raises(UsageError, match="refuses these messages: System role not supported"):
        render(GEMMA, [Message("system", "x"), user("y")])
    with pytest.raises(UsageError, match="roles must alternate"):
        render(GEMMA, [user("x"), user("y")])
    with pytest.raises(UsageError, match="no chat template"):
        render("", [user("x")])
    with pytest.raises(UsageError, match="takes JSON data, got object"):
        render(CHATML, [user("x")], thing=object())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if %}", "has an error in line 1"),
        ("\n\n{{ x", "has an error in line 3"),
        ("{% include 'a' %}", "fails: "),
        ("{{ messages[0].content + 1 }}", "fails: TypeError"),
        ("{{ messages[9].content.x }}", "fails: UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "tries what it must not"),
        ("{{ messages.__class__.__base__.__subclasses__() }}", "tries what it must not"),
        ("{{ raise_exception.__globals__.x }}", "tries what it must not"),
        ("{{ '{0.__class__.__mro__}'.format(1) }}", "tries what it must not"),
        ("{{ ('{0.__class__.__mro__}' | attr('format'))(1) }}", "tries what it must not"),
        ("{% set n = namespace(__class__=1) %}", "tries what it must not"),
        ("{% set n = namespace() %}{% set n.__dict__ = 1 %}", "tries what it must not"),
        ("{{ messages.append(1) }}", "tries what it must not"),
        ("{{ cycler.__init__.__globals__ }}", "tries what it must not"),
        ("{{ self._TemplateReference__context.environment }}", "tries what it must not"),
        ("{{ lipsum() }}", "fails: UndefinedError"),
        ("{% for i in range(10**9) %}{% endfor %}", "fails: OverflowError: Range too big"),
        ("{{ '{' * 300 + '}' * 300 }}" + "{{ (" * 500 + ")" * 500 + " }}", ""),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "does too much: RecursionError"),
        ("{{ 'a' * 10**9 }}", "does too much"),
        ("{{ 10**9 * 'a' }}", "does too much"),
        ("{{ [1] * 10**9 }}", "does too much"),
        ("{{ 10**(10**10) }}", "does too much"),
        ("{{ '%999999999d' % 1 }}", "does too much"),
        ("{{ '%*d' % (999999999, 1) }}", "does too much"),
        ("{{ '{:999999999}'.format(1) }}", "does too much"),
        ("{{ '{:{}}'.format(1, 999999999) }}", "does too much"),
        ("{{ '%999999999d' | format(1) }}", "does too much"),
        ("{{ '%(a)999999999d' % {'a': 1} }}", "does too much"),
        ("{{ '{0:*<+9999999}'.format(1) }}", "does too much"),
        ("{{ ([{'a': 'b' * 4000000}] * 99) | join(attribute='a') }}", "does too much"),
        ("{{ 'a'.ljust(999999999) }}", "does too much"),
        ("{{ 'a' | center(999999999) }}", "does too much"),
        ("{{ [1] | tojson(indent=999999999) }}", "does too much"),
        ("{{ ('a' * 4000000).replace('a', 'b' * 4000000) }}", "does too much"),
        ("{{ ('a' * 4000000) | replace('a', 'b' * 4000000) }}", "does too much"),
        ("{{ ('a' * 4000000).join(['b'] * 4000000) }}", "does too much"),
        ("{{ range(100000) | join('b' * 4000000) }}", "does too much"),
        ("{{ ('%s' * 100000) % (('a' * 100000,) * 100000) }}", "does too much"),
        ("{% set a = 'a' * 4000000 %}{{ a + a }}", "does too much"),
        ("{% set a = 'a' * 4000000 %}{{ a ~ a }}", "does too much"),
        ("{% set a = 'a' * 4000000 %}{{ a }}{{ a }}", "output is longer"),
        ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "output is longer"),
        ("{{ ([range(90000) | list] * 90000) | sum(start=[]) }}", "does too much"),
        ("{{ 'a'.encode() * 10**10 }}", "does too much"),
        ("{{ ('\\t' * 4000).expandtabs(10**9) }}", "does too much"),
        ("{{ ('a\\n' * 100000) | indent(10**6) }}", "does too much"),
        ("{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}", "does too much"),
        (
            "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
            "{% endfor %}{{ n.x }}",
            "does too much",
        ),
        ("{{ 7777777**7777777 }}", "does too much"),  # folded when it is compiled
    ],
)
def test_harmful_templates(template: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgereason.prompt.template.MAX_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(BundleError, match="the model's chat template") as raised:
        render(template, [user("x")])
    assert message in raised.value.message
    assert time.monotonic() - start < 100  # a second of computing, and the process anew


@pytest.mark.parametrize(
    "body",
    [
        "{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for i in r if false %}{% endfor %}" * 3
        + "{% for i in r %}{% for j in r %}{% set x = j %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for i in r %}{{ r | map('string') | map('length') | sum }}{% endfor %}",
    ],
)
def test_endless_work_is_ended(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgereason.prompt.template.MAX_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(BundleError, match=r"runs longer than 0\.5 s"):
        render("{% set r = range(100000) %}" + body, [user("x")])
    assert time.monotonic() - start < 100


def test_time_counts_that_the_template_computes_not_that_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a busy machine: the process stands still for longer than a template may compute."""
    monkeypatch.setattr("edgereason.prompt.template.MAX_SECONDS", 0.3)
    render("{{ 'once' }}", [user("x")])
    (child,) = template._children._idle
    os.kill(child.pid, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (child.pid, signal.SIGCONT)).start()
    start = time.monotonic()
    assert text_of(render("{{ 'twice' }}", [user("x")])) == "twice"
    assert time.monotonic() - start > 0.9


def test_what_is_not_for_templates_is_empty() -> None:
    """As under transformers: printing it shows nothing, using it is refused (above)."""
    for expression in ("''.__class__", "raise_exception.__globals__", "'{0.__class__}'.format(1)"):
        assert text_of(render("{{ " + expression + " }}", [user("x")])) == ""


def test_limits_are_far_from_what_templates_do() -> None:
    pieces = """{{ ['a' * 2000000, 1, 'b' * 1000] | join(', ') | length }},\
{{ ''.join(['a' * 2000000] + ['b'] * 99) | length }},{{ '%d on 20250101' % 123456789 }},\
{{ '{} on 20250101'.format(123456789) }},{{ ([[1, 2, 3]] * 2000) | sum(start=[]) | length }},\
{{ nothing | default(123456789) }},{{ dict(a=123456789) | tojson }}"""
    assert text_of(render(pieces, [user("x")])) == (
        "2001005,2000099,123456789 on 20250101,123456789 on 20250101,6000,123456789,"
        '{"a": 123456789}'
    )
    long = [user("word " * 20000), Message("assistant", "x", "y" * 100000), user("z")] * 20
    for each in (CHATML, QWEN3, R1, SMOLLM3, GPT_OSS):
        assert len(text_of(render(each, long, markers=THINK))) > 20 * 100000


# --- the process ----------------------------------------------------------------------------------


def test_a_process_that_was_killed_is_started_anew() -> None:
    child = Child()
    ask = {"what": "render", "template": "{{ x }}", "variables": {"x": "a"}}
    assert child.ask(ask, 5) == {"ok": "a"}
    first = child.pid
    os.kill(first, signal.SIGKILL)
    while child.pid:
        time.sleep(0.01)
    assert child.ask(ask, 5) == {"ok": "a"}
    assert child.pid != first
    child.close()


def test_nothing_of_this_side_is_lost_when_it_runs_out_of_memory() -> None:
    doubled = "{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
    hungry = "{% set n = namespace(x='a') %}" + doubled
    before = _peak_mib()
    with pytest.raises(BundleError, match="does too much"):
        render_text(hungry, {})
    assert _peak_mib() - before < 64
    assert render_text("{{ x }}", {"x": 1}) == "1"


def _peak_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_template_that_takes_long_holds_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    monkeypatch.setattr(template, "MAX_SECONDS", 4.0)
    failed: list[str] = []

    def ask() -> None:
        try:
            render_text(endless, {})
        except BundleError as error:
            failed.append(error.message)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    start = time.monotonic()
    assert render_text("{{ x }}", {"x": "meanwhile"}) == "meanwhile"
    assert time.monotonic() - start < 3
    thread.join()
    assert "longer than 4 s" in failed[0]
    assert len(template._children._all) == len(template._children._idle) == 1


def test_a_burst_starts_no_process_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = child_module._started
    monkeypatch.setattr(child_module, "_started", lambda: started.append(1) or start())
    children = child_module.Children()
    asked = {"what": "render", "template": "{{ x }}", "variables": {"x": 1}}
    threads = [threading.Thread(target=children.ask, args=(asked, 5.0)) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(started) <= child_module._MOST
    children.close()


def test_threads_ask_side_by_side() -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = render_text("{{ x }}", {"x": number})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(16)}


def test_a_forked_process_has_one_of_its_own() -> None:
    assert render_text("{{ x }}", {"x": "parent"}) == "parent"
    child = os.fork()
    if child == 0:
        try:
            ok = render_text("{{ x }}{{ 1 }}", {"x": "child"}) == "child1"
            template._children.close()
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert render_text("{{ x }}{{ 2 }}", {"x": "parent"}) == "parent2"


def test_what_was_rendered_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [user("only here")]
    first = render(CHATML, messages)

    def never(*args: object) -> object:
        raise ChildError("asked")

    monkeypatch.setattr(template, "_children", type("Dead", (), {"ask": never})())
    assert render(CHATML, messages) == first
    with pytest.raises(BundleError, match="asked"):
        render(CHATML, [user("another")])
    with pytest.raises(BundleError, match="asked"):  # its text depends on the day
        render(CHATML + "{{ strftime_now('%d') }}", messages)


def test_it_finds_neither_files_nor_modules_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jinja2.py").write_text("open('ran', 'w')")
    (tmp_path / "json.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    child = Child()
    assert child.ask({"what": "render", "template": "a", "variables": {}}, 5) == {"ok": "a"}
    child.close()
    assert not (tmp_path / "ran").exists()


def test_what_a_template_reads_and_writes() -> None:
    text = "{% set a = 1 %}{{ b }}{{ 'c' }}d"
    assert variables_of(text) == {"b"}
    assert set(literals_of(text).split("\0")) == {"c", "d"}
    assert variables_of("{% if %}") == frozenset()
    assert literals_of("{% if %}") == ""

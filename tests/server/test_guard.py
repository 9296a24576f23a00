"""Who is let in: keys, Host, Origin, and what a stranger may send."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.places import SCRIPTED
from support.replies import TURNS, asked
from support.served import Served, served

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    options: dict[str, Any] = {"api_keys": ("sesame", "häuschen"), "origins": ("https://app.test",)}
    with served(SCRIPTED, max_body_mib=0.01, **options) as running:
        yield running


def test_keys_in_both_forms(locked: Served) -> None:
    for headers in ({"authorization": "Bearer sesame"}, {"x-api-key": "sesame"}):
        assert locked.post(PATH, asked(), **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "sesame"}, {"x-api-key": "Sesame"}],
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (PATH, lambda body: body["error"]["type"] == "authentication_error"),
        ("/v1/messages", lambda body: body["error"]["type"] == "authentication_error"),
        ("/api/chat", lambda body: "no valid key" in body["error"]),
        ("/nowhere", lambda body: body["error"]["code"] == "invalid_api_key"),
    ],
)
def test_no_key_no_answer(locked: Served, headers: dict[str, str], path: str, kind: Any) -> None:
    answer = locked.post(path, asked(), **headers)
    assert answer.status_code == 401
    assert kind(answer.json())


@pytest.mark.parametrize("path", ["/metrics", "/status", "/v1/models", "/props", "/api/tags"])
def test_figures_are_behind_the_key_as_well(locked: Served, path: str) -> None:
    assert locked.get(path).status_code == 401
    assert locked.get(path, **{"x-api-key": "sesame"}).status_code == 200


def test_health_and_the_empty_page_are_open(locked: Served) -> None:
    for path in ("/health", "/", "/page.js"):
        assert locked.get(path).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_another_name_of_this_machine_is_not_answered_without_a_key(
    server: Served, locked: Served, host: str
) -> None:
    answer = server.get("/v1/models", host=host)
    assert answer.status_code in (400, 403)  # 400: the web server refuses it before us
    if answer.status_code == 403:
        assert answer.json()["error"]["code"] == "host_not_allowed"
        keyed = locked.get("/v1/models", **{"host": host, "x-api-key": "sesame"})
        assert keyed.status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80"])
def test_names_of_loopback_are_answered(server: Served, host: str) -> None:
    assert server.get("/v1/models", host=host).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.test"])
def test_pages_of_others_are_refused_before_anything_runs(server: Served, origin: str) -> None:
    answer = server.post(PATH, asked(), origin=origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_pages_of_this_machine_and_named_ones_may_ask(server: Served, locked: Served) -> None:
    answer = server.post(PATH, asked(), origin="http://localhost:3000")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    keyed = {"origin": "https://app.test", "x-api-key": "sesame"}
    assert locked.post(PATH, asked(), **keyed).status_code == 200
    assert locked.post(PATH, asked(), **{**keyed, "origin": "https://app.tes"}).status_code == 403


def test_a_preflight_needs_no_key(locked: Served) -> None:
    headers = {"origin": "https://app.test", "access-control-request-method": "POST"}
    answer = httpx.options(f"{locked.url}{PATH}", headers=headers)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == "https://app.test"


def test_a_large_body_is_refused_in_the_form_of_the_client(locked: Served) -> None:
    body = asked(messages=[{"role": "user", "content": "x" * 20_000}])
    answer = locked.post(PATH, body, **{"x-api-key": "sesame"})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    answer = locked.post("/v1/messages", body, **{"x-api-key": "sesame"})
    assert answer.json()["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b'"x"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "scripted", "messages": [], "top_p": NaN}',
        b'{"seed": ' + b"9" * 10_000 + b"}",
        b'{"model": "scripted", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b"<html>",
    ],
)
@pytest.mark.parametrize("path", [PATH, "/v1/messages", "/api/chat", "/tokenize"])
def test_hostile_bodies_are_400(server: Served, path: str, content: bytes) -> None:
    answer = httpx.post(f"{server.url}{path}", content=content, timeout=30)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_a_packed_body_is_not_taken(server: Served) -> None:
    packed = gzip.compress(b"{}")
    headers = {"content-encoding": "gzip"}
    answer = httpx.post(f"{server.url}{PATH}", content=packed, headers=headers)
    assert answer.status_code == 415
    assert "'gzip'" in answer.json()["error"]["message"]


def test_a_body_that_never_comes_is_given_up(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgereason.server.http._READ_S", 0.1)
    with socket.create_connection(("127.0.0.1", server.server.port), timeout=10) as line:
        line.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert line.recv(4096).startswith(b"HTTP/1.1 408")


def test_paths_and_methods_that_are_not(server: Served) -> None:
    for path in ("/v1/embeddings", "/v1/nothing", "/.env", "/page.css"):
        answer = server.post(path, {})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "no_such_route"
    assert server.get(PATH).status_code == 405
    assert server.get("/v1/messages").json()["type"] == "error"


def test_what_nobody_expected_tells_no_secrets(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("edgereason.server.service.budget_of", broken)
    answer = server.post(PATH, asked())
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "internal error: RuntimeError"
    monkeypatch.undo()
    assert server.wait_idle()
    assert server.post(PATH, asked()).status_code == 200


def test_a_server_without_room_says_when_to_come_again() -> None:
    with served(SCRIPTED, max_requests=1) as full:
        full.service.num_admitted = 1
        for path, kind in ((PATH, "rate_limit_error"), ("/v1/messages", "rate_limit_error")):
            answer = full.post(path, asked(max_tokens=9))
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"]["type"] == kind
        full.service.num_admitted = 0
        assert full.post(PATH, asked()).status_code == 200


def test_a_server_that_stops_takes_nothing_new() -> None:
    with served(SCRIPTED) as stopping:
        stopping.service.begin_stop()
        answer = stopping.post(PATH, asked())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert answer.json()["error"]["type"] == "unavailable_error"
        answer = stopping.post("/v1/messages", {"model": "x", "messages": TURNS, "max_tokens": 9})
        assert answer.status_code == 404
        assert stopping.get("/health").status_code == 503

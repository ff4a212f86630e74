"""Before a server listens: every door that others reach has a token, and the key fits the certificate."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from homeostat.eventing.doors import DOORS, Door, Guard, Limits, Tokens, check_binding, check_tls, is_loopback
from homeostat.eventing.doors.calling import authorization_of, trust, trust_of
from homeostat.eventing.doors.token_file import create
from homeostat.eventing.errors import Reject
from tests.eventing.doors.asgi import Counting
from tests.eventing.doors.certificates import certificate


def test_loopback_is_told_from_what_others_reach() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(
        map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.evil.example"))
    )


def test_loopback_needs_no_token(tmp_path: Path) -> None:
    check_binding("127.0.0.1", Tokens(tmp_path / "tokens.json"), tls=False)


def test_wider_without_a_token_on_every_door_is_refused_with_each_mend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens.json"
    create(path, "broker")
    create(path, "admin", expires=timedelta(milliseconds=1))
    time.sleep(0.01)
    with pytest.raises(Reject) as told:
        check_binding("0.0.0.0", Tokens(path), tls=False)
    mends = [str(one) for one in told.value.faults]
    bare = [door for door in DOORS if door != "broker"]
    assert len(mends) == len(bare)
    assert all(f"homeostat tokens create {door}" in mend for door, mend in zip(bare, mends, strict=True))
    check_binding("0.0.0.0", Tokens(path), tls=True, doors=["broker"])
    check_binding("0.0.0.0", Tokens(path), tls=True, doors=["broker", "grafana"], secured=["grafana"])
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        check_binding("0.0.0.0", Tokens(path), tls=False, doors=["broker"])
    assert "tokens travel in the clear" in caplog.text


def test_a_revoked_token_is_no_token(tmp_path: Path) -> None:
    from homeostat.eventing.doors.token_file import revoke

    create(tmp_path / "t.json", "broker", "one")
    revoke(tmp_path / "t.json", "one")
    with pytest.raises(Reject, match="create broker"):
        check_binding("10.0.0.1", Tokens(tmp_path / "t.json"), tls=True, doors=["broker"])


def test_a_certificate_and_its_key_are_taken_and_none_at_all_too(tmp_path: Path) -> None:
    assert check_tls(*certificate(tmp_path))
    assert not check_tls(None, None)


def fields(certificate: Path | None, key: Path | None) -> list[str]:
    with pytest.raises(Reject) as told:
        check_tls(certificate, key)
    return [one.field for one in told.value.faults]


def test_tls_files_that_cannot_be_used_are_told_by_field(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path / "one")
    _, another = certificate(tmp_path / "two")
    _, locked = certificate(tmp_path / "three", password=b"secret")
    junk = tmp_path / "junk"
    junk.write_text("no PEM")
    assert fields(cert, None) == ["tls_key"]
    assert fields(None, key) == ["tls_cert"]
    assert fields(tmp_path / "absent", tmp_path) == ["tls_cert", "tls_key"]
    for pair in ((cert, another), (cert, locked), (cert, junk), (junk, key)):
        assert fields(*pair) == ["tls_key"]


class Served:
    """A guard behind a real uvicorn, in a thread."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        quick = {"log_level": "error", "lifespan": "off", "timeout_graceful_shutdown": 1}
        self._server = uvicorn.Server(uvicorn.Config(app, **quick, **options))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def token(tmp_path: Path) -> str:
    return create(tmp_path / "tokens.json", "broker")[1]


@pytest.fixture
def guard(tmp_path: Path, token: str) -> Guard:
    limits = Limits(body_seconds=0.5, max_body=1000)
    return Guard(Counting(), {"/": Door(name="broker")}, Tokens(tmp_path / "tokens.json"), limits=limits)


@pytest.fixture
def secure(tmp_path: Path, guard: Guard) -> Iterator[tuple[Served, Path]]:
    cert, key = certificate(tmp_path / "tls", name="homeostat.example")
    served = Served(guard, ssl_certfile=str(cert), ssl_keyfile=str(key))
    yield served, cert
    served.stop()


def test_tls_is_served_for_real_and_our_own_callers_trust_that_certificate_only(
    secure: tuple[Served, Path], token: str, tmp_path: Path
) -> None:
    served, cert = secure
    url = f"https://127.0.0.1:{served.port}/homeostat/default"
    environment = {"HOMEOSTAT_TLS_CERT": str(cert), "HOMEOSTAT_BROKER_TOKEN": token}
    ours = trust_of(environment)
    assert httpx.post(url, verify=ours, headers=authorization_of(environment)).status_code == 202
    assert httpx.post(url, verify=ours).status_code == 401
    other, _ = certificate(tmp_path / "other", name="homeostat.example")
    for stranger in (True, trust(other)):
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.post(url, verify=stranger)
    with pytest.raises(httpx.TransportError):
        httpx.post(url.replace("https", "http"))


@pytest.fixture
def plain(guard: Guard) -> Iterator[Served]:
    served = Served(guard)
    yield served
    served.stop()


def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send the parts over a bare socket; everything that comes back until the server closes or 3 s pass."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as link:
        for part in parts:
            link.sendall(part)
            time.sleep(pause)
        found = b""
        try:
            while more := link.recv(65536):
                found += more
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def test_over_a_real_socket_a_slow_body_gets_408_and_the_line_is_closed(plain: Served, token: str) -> None:
    head = (
        f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n".encode()
    )
    begun = time.monotonic()
    answer = exchange(plain.port, head, b"a")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun < 2.5, "the server closed it, we did not give up"


def test_over_a_real_socket_a_huge_chunked_body_gets_413(plain: Served, token: str) -> None:
    head = (
        f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = exchange(plain.port, head.encode(), b"800\r\n" + b"x" * 0x800 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_over_a_real_socket_encoded_paths_lead_where_the_plain_ones_do(plain: Served, token: str) -> None:
    base = f"http://127.0.0.1:{plain.port}"
    open_to_all = ["/healthz", "/%68ealthz", "/healthz?x=//"]
    assert [httpx.post(base + path).status_code for path in open_to_all] == [202] * 3
    odd = ["/x%2f%2fy", "/%2e%2e/healthz", "/healthz%00", "/x/%2e/healthz", "/%5chealthz"]

    def status(path: str) -> bytes:
        request = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        return exchange(plain.port, request.encode())[9:12]

    assert [status(path) for path in odd] == [b"400"] * len(odd)
    assert [status(path) for path in ("/healthz%2f", "/HEALTHZ", "/healthz;x", "/%2568ealthz")] == [
        b"401"
    ] * 4


def test_over_a_real_socket_a_websocket_is_refused(plain: Served) -> None:
    request = (
        b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert exchange(plain.port, request)[9:12] in (b"403", b"401")


def test_the_tls_context_checks_no_name_but_the_very_certificate(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    pinned = trust(cert)
    assert isinstance(pinned, ssl.SSLContext)
    assert pinned.verify_mode is ssl.CERT_REQUIRED
    assert [len(pinned.get_ca_certs()), trust(None)] == [1, True]

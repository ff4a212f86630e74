"""What a pod takes along when it calls on the broker: a token from a file, and whom it trusts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from homeostat.eventing.doors.calling import authorization_of, trust_of
from tests.eventing.doors.certificates import certificate


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server whose certificate nobody knows but who is told of it."""
    cert, key = certificate(tmp_path / "tls")

    async def app(_: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    config = uvicorn.Config(
        app,
        port=0,
        log_level="critical",
        lifespan="off",
        ssl_certfile=str(cert),
        ssl_keyfile=str(key),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", cert
    server.should_exit = True
    thread.join()


def test_a_mounted_token_is_read_for_each_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert authorization_of({}, file) == {}
    file.write_text("first\n")
    assert authorization_of({}, file) == {"authorization": "Bearer first"}
    file.write_text("renewed")
    assert authorization_of({}, file) == {"authorization": "Bearer renewed"}


def test_a_token_that_the_environment_names_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("mounted")
    assert authorization_of({"HOMEOSTAT_BROKER_TOKEN": "named"}, file) == {"authorization": "Bearer named"}


def test_the_clusters_own_authority_is_trusted_by_whoever_is_told_of_it(secure: tuple[str, Path]) -> None:
    url, cert = secure
    told = trust_of({"K_CA_CERTS": cert.read_text()})
    assert httpx.get(url, verify=told).status_code == 202
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(url, verify=trust_of({}))
    with pytest.raises(httpx.ConnectError, match="certificate"):
        # It was made out to the address, and to no name.
        httpx.get(url.replace("127.0.0.1", "localhost"), verify=told)

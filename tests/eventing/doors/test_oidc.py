"""OIDC: a token counts by signature, issuer, audience and time, with keys from the configuration only."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing.doors import Door, Guard, Tokens
from homeostat.eventing.doors.jwks import Keys
from homeostat.eventing.doors.oidc import Oidc, configured
from homeostat.eventing.doors.token_file import create
from homeostat.eventing.errors import Reject, Retry
from tests.eventing.doors.asgi import Counting, ask, bearer
from tests.eventing.doors.certificates import certificate

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "eventing.knative.dev/broker/homeostat/default"
SENDER = "system:serviceaccount:plant:pump-source"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str, **more: str) -> dict[str, str]:
    family = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return json.loads(family.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"} | more  # type: ignore[no-any-return]


KEYS = [public(RSA_KEY, "one", alg="RS256"), public(EC_KEY, "two", alg="ES256")]


def token(
    key: Any = RSA_KEY, alg: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    now = int(time.time())
    standard = {"iss": ISSUER, "aud": [AUDIENCE], "sub": SENDER, "exp": now + 600, "iat": now}
    content = {name: value for name, value in (standard | claims).items() if value is not None}
    named = {"kid": "one"} | (headers or {})
    return jwt.encode(content, key, alg, {name: value for name, value in named.items() if value is not None})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": KEYS}))
    return file


@pytest.fixture
def oidc(keys: Path) -> Oidc:
    return Oidc(ISSUER, AUDIENCE, Keys(str(keys)))


def accepts(one: Oidc, text: str) -> bool:
    return asyncio.run(one.accepts(text.encode()))


def test_a_token_made_out_to_this_door_counts(oidc: Oidc) -> None:
    assert accepts(oidc, token())
    assert accepts(oidc, token(aud=AUDIENCE))
    assert accepts(oidc, token(aud=["another", AUDIENCE]))
    assert accepts(oidc, token(EC_KEY, "ES256", {"kid": "two"}))


def unsigned() -> str:
    _, body, _ = token().split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').decode().rstrip("=")
    return f"{header}.{body}."


def confused() -> str:
    """HS256 with the public key for a secret, signed by hand because PyJWT refuses to."""
    import hashlib
    import hmac

    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').decode().rstrip("=")
    body = token().split(".")[1]
    digest = hmac.new(secret, f"{header}.{body}".encode(), hashlib.sha256).digest()
    return f"{header}.{body}." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


NOW = int(time.time())
WRONG = {
    "audience": token(aud="eventing.knative.dev/broker/homeostat/other"),
    "no audience": token(aud=None),
    "issuer": token(iss="https://evil.example"),
    "no issuer": token(iss=None),
    "expired": token(exp=NOW - 60),
    "no expiry": token(exp=None),
    "not yet": token(nbf=NOW + 3600),
    "no subject": token(sub=None),
    "another's key": token(OTHER_KEY),
    "an unknown key id": token(headers={"kid": "three"}),
    "a key of another type": token(headers={"kid": "two"}),
    "alg none": unsigned(),
    "alg none without a dot": unsigned()[:-1],
    "the public key as a secret": confused(),
    "another algorithm": token(alg="RS512"),
    "its own key": token(OTHER_KEY, headers={"jwk": public(OTHER_KEY, "one")}),
    "its own address": token(
        OTHER_KEY, headers={"jku": "https://evil.example/keys", "x5u": "https://evil.example"}
    ),
    "critical": token(headers={"crit": ["b64"], "b64": True}),
    "expiry as text": token(exp="soon"),
    "infinite expiry": token(exp=float("inf")),
    "truncated": token()[:-5],
    "huge": token(pad="x" * 20_000),
    "nothing": "",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_token_that_does_not_hold_is_refused(oidc: Oidc, wrong: str) -> None:
    assert not accepts(oidc, wrong)


def test_a_token_without_a_key_id_needs_one_key_that_it_can_mean(tmp_path: Path, oidc: Oidc) -> None:
    nameless = token(headers={"kid": None})
    assert accepts(oidc, nameless)
    two = tmp_path / "two.json"
    two.write_text(json.dumps({"keys": [*KEYS, public(OTHER_KEY, "four")]}))
    assert not accepts(Oidc(ISSUER, AUDIENCE, Keys(str(two))), nameless)


def test_short_and_foreign_keys_are_not_trusted(tmp_path: Path) -> None:
    short, curve = (
        rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505
        ec.generate_private_key(ec.SECP384R1()),
    )
    file = tmp_path / "weak.json"
    listed = [public(short, "short"), public(RSA_KEY, "enc", use="enc"), public(RSA_KEY, "ps", alg="PS256")]
    file.write_text(json.dumps({"keys": [*listed, public(curve, "curve")]}))
    one = Oidc(ISSUER, AUDIENCE, Keys(str(file)))
    assert not accepts(one, token(short, headers={"kid": "short"}))
    assert not accepts(one, token(headers={"kid": "enc"}))
    assert not accepts(one, token(headers={"kid": "ps"}))


def test_senders_can_be_named(keys: Path) -> None:
    def known(*subjects: str) -> bool:
        return accepts(Oidc(ISSUER, AUDIENCE, Keys(str(keys)), subjects), token())

    assert known(SENDER)
    assert known("other", "system:serviceaccount:plant:*")
    assert not known("system:serviceaccount:plant:pump")
    assert not known("system:serviceaccount:other:*")


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([b'{"alg":"RS256"}', b'{"alg":[]}', b"null"])),
        max_size=4,
    )
)
def test_nothing_made_up_is_accepted_or_breaks(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    file = tmp_path_factory.getbasetemp() / "jwks.json"
    if not file.exists():
        file.write_text(json.dumps({"keys": KEYS}))
    made_up = b".".join(base64.urlsafe_b64encode(one).rstrip(b"=") for one in parts)
    one = Oidc(ISSUER, AUDIENCE, Keys(str(file)))
    assert not asyncio.run(one.accepts(made_up))
    assert not asyncio.run(one.accepts(b".".join(parts)))


def test_the_guard_takes_both_kinds_of_token(tmp_path: Path, oidc: Oidc) -> None:
    app = Counting()
    guard = Guard(app, {"/": Door(name="broker", oidc=oidc)}, Tokens(tmp_path / "tokens.json"))

    def status(*headers: dict[str, str]) -> int:
        return asyncio.run(ask(guard, "/x", *headers)).status

    assert [status(), status(bearer(token(aud="other"))), status(bearer(token()))] == [401, 401, 202]
    _, own = create(tmp_path / "tokens2.json", "broker")
    guard = Guard(app, {"/": Door(name="broker", oidc=oidc)}, Tokens(tmp_path / "tokens2.json"))
    assert [status(bearer(own)), status(bearer(token()))] == [202, 202]


def test_without_its_issuers_keys_a_door_says_try_again(tmp_path: Path) -> None:
    oidc = Oidc(ISSUER, AUDIENCE, Keys(str(tmp_path / "not there")))
    guard = Guard(Counting(), {"/": Door(name="broker", oidc=oidc)}, Tokens(tmp_path / "tokens.json"))
    later = asyncio.run(ask(guard, "/x", bearer(token())))
    assert (later.status, later.headers["retry-after"]) == (503, "10")
    assert asyncio.run(ask(guard, "/x")).status == 401


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_keys_are_rotated_without_a_restart_and_strangers_make_nobody_look(keys: Path) -> None:
    clock = Clock()
    held = Keys(str(keys), clock=clock)
    one = Oidc(ISSUER, AUDIENCE, held)
    fresh = token(OTHER_KEY, headers={"kid": "next"})

    assert accepts(one, token())
    keys.write_text(json.dumps({"keys": [*KEYS, public(OTHER_KEY, "next")]}))
    assert not accepts(one, fresh), "just looked"
    clock.at += 11
    assert accepts(one, fresh)
    keys.write_text("damaged")
    clock.at += 1000
    assert accepts(one, fresh), "keys once had hold while the issuer is away"


class Issuer(BaseHTTPRequestHandler):
    """Serves the keys over TLS; misbehaves by path."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["authorization"]))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/keys")
            self.end_headers()
            return
        body = json.dumps({"keys": KEYS}).encode() if self.path == "/keys" else b" " * 1_000_000
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[tuple[str, Path, type[Issuer]]]:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    handler = type("Handler", (Issuer,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", cert, handler
    server.shutdown()
    server.server_close()


def test_keys_are_fetched_over_tls_once_with_the_pods_own_token(
    issuer: tuple[str, Path, type[Issuer]], tmp_path: Path
) -> None:
    url, cert, handler = issuer
    (tmp_path / "pod").write_text("pod-token\n")
    one = Oidc(ISSUER, AUDIENCE, Keys(f"{url}/keys", ca=cert, bearer=tmp_path / "pod"))

    async def run() -> list[bool]:
        return list(await asyncio.gather(*(one.accepts(token().encode()) for _ in range(20))))

    assert asyncio.run(run()) == [True] * 20
    assert handler.asked == [("/keys", "Bearer pod-token")]


@pytest.mark.parametrize("path", ["/moved", "/huge"])
def test_a_redirect_or_a_huge_answer_is_no_key_set(issuer: tuple[str, Path, type[Issuer]], path: str) -> None:
    url, cert, handler = issuer
    with pytest.raises(Retry):
        accepts(Oidc(ISSUER, AUDIENCE, Keys(url + path, ca=cert)), token())
    assert [asked for asked, _ in handler.asked] == [path]


def test_an_issuer_whose_certificate_nobody_vouches_for_is_not_believed(
    issuer: tuple[str, Path, type[Issuer]],
) -> None:
    url, _, handler = issuer
    with pytest.raises(Retry):
        accepts(Oidc(ISSUER, AUDIENCE, Keys(f"{url}/keys")), token())
    assert handler.asked == []


def test_plain_http_is_refused_and_so_is_half_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="https"):
        Keys("http://issuer/keys")
    assert configured({}) is None
    with pytest.raises(Reject) as told:
        configured({"HOMEOSTAT_OIDC_ISSUER": ISSUER})
    assert [one.field for one in told.value.faults] == ["oidc.audience", "oidc.keys"]
    whole = {
        "HOMEOSTAT_OIDC_ISSUER": ISSUER,
        "HOMEOSTAT_OIDC_AUDIENCE": AUDIENCE,
        "HOMEOSTAT_OIDC_KEYS": "/k",
    }
    found = configured(whole | {"HOMEOSTAT_OIDC_SUBJECTS": json.dumps([SENDER])})
    assert found is not None
    assert found.subjects == (SENDER,)
    with pytest.raises(Reject, match="no list"):
        configured(whole | {"HOMEOSTAT_OIDC_SUBJECTS": "everyone"})


def test_the_doors_load_without_pyjwt_and_cryptography() -> None:
    code = "import sys, homeostat.eventing.doors; print({'jwt', 'cryptography', 'httpx'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"

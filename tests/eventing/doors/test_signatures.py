"""Signatures: what a sender signed comes in once; changed, forged, replayed and late copies do not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.doors import Door, Guard, Limits, Signatures, Tokens
from homeostat.eventing.doors.signatures import Signature
from homeostat.eventing.doors.token_file import create
from homeostat.eventing.errors import Reject
from tests.eventing.doors.asgi import Answer, Counting, ask, bearer

SECRET, OLDER = "a secret that senders know", "an older secret of theirs"
STAMP = "X-Grafana-Alerting-Timestamp"
BODY = b'{"receiver":"homeostat","status":"firing","alerts":[]}'


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def hub(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={signed(body, secret)}"}


def grafana(at: float, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at))
    digest = signed(stamp.encode() + b":" + body, secret)
    return {"x-grafana-alerting-signature": digest, STAMP.lower(): stamp}


class Place:
    """A guard whose door `grafana` has a signature."""

    def __init__(self, folder: Path, **signing: Any) -> None:
        self.file = folder / "signatures.json"
        self.tokens = folder / "tokens.json"
        self.time, self.now = 0.0, time.time()
        self.write(**signing)
        self.app = Counting()
        self.guard = Guard(
            self.app,
            {"/": Door(name="grafana")},
            Tokens(self.tokens, self._clock),
            signatures=Signatures(self.file, self._clock, lambda: self.now),
            limits=Limits(max_body=10_000, body_seconds=0.3),
        )

    def _clock(self) -> float:
        self.time += 10
        return self.time

    def write(self, **signing: Any) -> None:
        signing = {"secrets": [SECRET], "scheme": "grafana"} | signing
        self.file.write_text(json.dumps({"doors": {"grafana": signing}}))
        self.file.chmod(0o600)

    def ask(self, headers: Mapping[str, str], body: Any = BODY) -> Answer:
        return asyncio.run(ask(self.guard, "/grafana", headers, body))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, timestamp_header=STAMP)


def test_a_hub_signature_over_the_body_opens_the_door(tmp_path: Path) -> None:
    """The example of GitHub's documentation ("Validating webhook deliveries", Testing)."""
    body, secret = b"Hello, World!", "It's a Secret to Everybody"
    place = Place(tmp_path, scheme="hub", secrets=[secret])
    told = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert place.ask({"x-hub-signature-256": f"sha256={told}"}, body).status == 202
    assert place.ask({"x-hub-signature-256": f"sha256={told}"}, [body[:5], body[5:]]).status == 202
    assert place.app.bodies == [body, body]


def test_grafana_signs_the_body_alone_without_a_timestamp_header(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.ask({"x-grafana-alerting-signature": signed(BODY)}).status == 202


def test_grafana_signs_time_and_body_with_one(place: Place) -> None:
    assert place.ask(grafana(place.now)).status == 202
    assert place.app.bodies == [BODY]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": signed(BODY)},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": f"sha256={signed(BODY)[:-1]}"},
        {"x-hub-signature-256": f"sha256={signed(BODY)}00"},
        {"x-hub-signature-256": f"sha1={signed(BODY)}"},
        {"x-hub-signature-256": "sha256=" + "é" * 64},
        {"x-grafana-alerting-signature": signed(BODY)},
        hub(secret="another secret than the sender's"),
        hub(BODY + b" "),
        hub(b""),
    ],
)
def test_a_signature_that_does_not_hold_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    place = Place(tmp_path, scheme="hub")
    assert place.ask(wrong).status == 401
    assert place.app.bodies == []
    assert place.ask(hub()).status == 202


def test_a_late_or_an_early_one_is_refused(place: Place) -> None:
    within = [place.ask(grafana(place.now + shift)).status for shift in (-299, 299)]
    outside = [place.ask(grafana(place.now + shift)).status for shift in (-302, 302, -1e9)]
    assert (within, outside) == ([202, 202], [401, 401, 401])


def test_the_window_is_a_setting(tmp_path: Path) -> None:
    place = Place(tmp_path, timestamp_header=STAMP, window="10s")
    assert [place.ask(grafana(place.now - age)).status for age in (8, 12)] == [202, 401]


def test_a_timestamp_that_was_not_signed_is_refused(place: Place) -> None:
    old = grafana(place.now - 1000)
    assert place.ask(old | {STAMP.lower(): str(int(place.now))}).status == 401
    without = {name: value for name, value in grafana(place.now).items() if name != STAMP.lower()}
    assert place.ask(without).status == 401
    assert place.ask({"x-grafana-alerting-signature": signed(BODY)}).status == 401
    odd = {"x-grafana-alerting-signature": signed(b"1e9:" + BODY), STAMP.lower(): "1e9"}
    assert place.ask(odd).status == 401


def test_a_replay_of_what_was_taken_is_refused(place: Place) -> None:
    delivery = grafana(place.now)
    assert [place.ask(delivery).status for _ in range(2)] == [202, 401]
    upper = delivery | {"x-grafana-alerting-signature": delivery["x-grafana-alerting-signature"].upper()}
    assert place.ask(upper).status == 401
    assert place.ask(grafana(place.now + 1)).status == 202
    assert len(place.app.bodies) == 2


def test_what_was_not_taken_may_be_sent_again_as_it_is(place: Place) -> None:
    delivery = grafana(place.now)
    place.app.status = 503
    assert place.ask(delivery).status == 503
    place.app.status = 202
    assert place.ask(delivery).status == 202


def test_what_is_remembered_against_replays_is_bounded() -> None:
    signatures = Signatures(Path("nowhere.json"), now=lambda: 0.0)
    signature = Signature(b"s", b"", (b"k" * 16,), b"t", 300)
    for number in range(70_000):
        signatures.taken(signature, {b"s": b"%d" % number})
    assert len(signatures._seen) <= 65_536
    assert b"69999" in signatures._seen


def test_a_header_sent_twice_could_be_read_in_two_ways(place: Place) -> None:
    raw = [(name.encode(), value.encode()) for name, value in grafana(place.now).items()]
    assert asyncio.run(ask(place.guard, "/grafana", [*raw, raw[0]], BODY)).status == 401
    assert asyncio.run(ask(place.guard, "/grafana", [*raw, raw[1]], BODY)).status == 401
    assert asyncio.run(ask(place.guard, "/grafana", raw, BODY)).status == 202


def test_secrets_are_replaced_without_a_restart(tmp_path: Path) -> None:
    place = Place(tmp_path, scheme="hub", secrets=[OLDER])
    assert [place.ask(hub(secret=one)).status for one in (OLDER, SECRET)] == [202, 401]
    place.write(scheme="hub", secrets=[OLDER, SECRET])
    assert [place.ask(hub(secret=one)).status for one in (OLDER, SECRET)] == [202, 202]
    place.write(scheme="hub", secrets=[SECRET])
    assert [place.ask(hub(secret=one)).status for one in (OLDER, SECRET)] == [401, 202]


def test_a_token_opens_the_door_too_but_every_credential_has_to_hold(tmp_path: Path) -> None:
    place = Place(tmp_path, scheme="hub")
    _, token = create(place.tokens, "grafana")
    wrong_signature, wrong_token = hub(secret="not what was agreed"), bearer("hst_grafana_wrong")
    assert place.ask(bearer(token)).status == 202
    assert place.ask(bearer(token) | hub()).status == 202
    assert place.ask(bearer(token) | wrong_signature).status == 401
    assert place.ask(wrong_token | hub()).status == 401
    assert place.ask(wrong_token).status == 401


def test_a_signed_body_is_held_to_the_same_limits(tmp_path: Path) -> None:
    place = Place(tmp_path, scheme="hub")
    huge = b"x" * 10_001
    assert place.ask(hub(huge), [huge[:5000], huge[5000:]]).status == 413
    assert place.ask(hub(b"ab"), [b"a", 9.0, b"b"]).status == 408
    assert place.app.bodies == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"doors": {"grafana": {"scheme": "md5", "secrets": ["0123456789abcdef"]}}}',
        '{"doors": {"grafana": {"scheme": "hub", "secrets": []}}}',
        '{"doors": {"grafana": {"scheme": "hub", "secrets": ["short and sad"]}}}',
        '{"doors": {"grafana": {"scheme": "hub", "secrets": ["0123456789abcdef"], "window": "soon"}}}',
        '{"doors": {"cellar": {"scheme": "hub", "secrets": ["0123456789abcdef"]}}}',
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_its_secrets(tmp_path: Path, content: str) -> None:
    file = tmp_path / "signatures.json"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(Reject, match=r"signatures\.json") as told:
        Signatures(file)
    assert "0123456789abcdef" not in str(told.value)
    assert "short and sad" not in str(told.value)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.file.chmod(0o644)
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o644
    with pytest.raises(Reject, match="chmod 600"):
        Signatures(place.file)


@given(
    headers=st.dictionaries(st.sampled_from([b"s", b"t"]), st.binary(max_size=80)),
    body=st.binary(max_size=20),
)
def test_no_made_up_signature_holds(headers: dict[bytes, bytes], body: bytes) -> None:
    for stamp in (None, b"t"):
        assert not Signature(b"s", b"", (b"k" * 16,), stamp, 300).holds(headers, body, 1e9)

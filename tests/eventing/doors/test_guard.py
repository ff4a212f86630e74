"""The guard: who has the door's token comes in, everyone else is told the mend and nothing more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from homeostat.eventing.doors import Door, Guard, Limits, Tokens
from homeostat.eventing.doors.token_file import create, revoke
from tests.eventing.doors.asgi import Answer, Counting, ask, bearer

PREFIXES = {
    "/serving": Door(name="serving"),
    "/events": Door(name="events", open_methods=frozenset({"OPTIONS"})),
    "/": Door(name="broker"),
}


class Place:
    """A guarded app and the file of its tokens; looks at the file at each request."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.file = folder / "tokens.json"
        self.app = Counting()
        self.time = 0.0
        self.tokens = Tokens(self.file, self._clock)
        self.guard = Guard(self.app, options.pop("doors", PREFIXES), self.tokens, **options)

    def _clock(self) -> float:
        self.time += 10.0
        return self.time

    def ask(self, path: str = "/homeostat/default", token: str | None = None, **request: Any) -> Answer:
        headers = request.pop("headers", {}) | (bearer(token) if token is not None else {})
        return asyncio.run(ask(self.guard, path, headers, **request))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_token_a_door_on_loopback_is_open(place: Place) -> None:
    assert place.ask(body=b"hello").status == 202
    assert place.ask(token="whatever").status == 202
    assert place.app.bodies == [b"hello", b""]


def test_elsewhere_a_door_without_any_token_is_shut(tmp_path: Path) -> None:
    place = Place(tmp_path, open_doors=False)
    assert place.ask().status == 401
    _, token = create(place.file, "broker")
    assert place.ask(token=token).status == 202
    assert place.ask("/serving/pump", token).status == 403
    assert len(place.app.bodies) == 1


def test_a_door_with_a_token_asks_for_it_and_its_neighbours_do_not(place: Place) -> None:
    _, token = create(place.file, "broker")
    refused = place.ask()
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="broker"'
    assert refused.faults[0]["field"] == "authorization"
    assert "homeostat tokens create broker" in refused.faults[0]["mend"]
    assert place.ask("/serving/pump").status == 202
    assert place.ask(token=token).status == 202


def test_the_scheme_is_read_in_any_case_and_nothing_else_is(place: Place) -> None:
    _, token = create(place.file, "broker")

    def status(value: str) -> int:
        return place.ask(headers={"authorization": value}).status

    assert [status(f"{scheme} {token}") for scheme in ("Bearer", "bearer", "BEARER")] == [202] * 3
    wrong = [
        token,
        f"Basic {token}",
        f"Bearer{token}",
        f"Bearer {token} {token}",
        f"Token {token}",
        "Bearer ",
    ]
    assert [status(value) for value in wrong] == [401] * len(wrong)
    assert len(place.app.bodies) == 3


def test_a_wrong_an_expired_and_no_token_get_the_very_same_answer(place: Place) -> None:
    now = [0.0]
    _, stale = create(place.file, "broker", expires=timedelta(seconds=1))
    place.tokens._now = lambda: now[0]  # type: ignore[assignment]
    now[0] = 1e11
    answers = [place.ask(), place.ask(token="hst_broker_wrong"), place.ask(token=stale), place.ask(token="")]
    assert answers == [answers[0]] * 4
    assert answers[0].status == 401


def test_another_doors_token_is_refused_as_such(place: Place) -> None:
    create(place.file, "broker")
    _, other = create(place.file, "serving")
    refused = place.ask(token=other)
    assert refused.status == 403
    assert "serving" not in refused.body.decode()
    assert place.app.bodies == []


def test_rotation_and_revocation_need_no_restart(place: Place) -> None:
    _, old = create(place.file, "broker", "old")
    assert place.ask(token=old).status == 202
    _, new = create(place.file, "broker", "new")
    assert [place.ask(token=one).status for one in (old, new)] == [202, 202]
    revoke(place.file, "old")
    assert [place.ask(token=one).status for one in (old, new)] == [401, 202]
    revoke(place.file, "new")
    assert [place.ask(token=one).status for one in (old, new, None)] == [401] * 3


def test_two_authorization_headers_are_no_token(place: Place) -> None:
    _, token = create(place.file, "broker")
    value = f"Bearer {token}".encode()
    twice = asyncio.run(ask(place.guard, "/x", [(b"authorization", value), (b"authorization", value)]))
    assert twice.status == 401


def test_probes_stay_open_and_only_they(place: Place) -> None:
    create(place.file, "broker")
    assert [place.ask(path).status for path in ("/healthz", "/readyz")] == [202, 202]
    near = ["/healthz/", "/healthz/x", "/x/healthz", "/healthzz", "/HEALTHZ"]
    assert [place.ask(path).status for path in near] == [401] * len(near)


def test_a_sender_may_ask_before_it_delivers(place: Place) -> None:
    create(place.file, "events")
    assert place.ask("/events", method="OPTIONS").status == 202
    assert place.ask("/events", method="POST").status == 401


def test_what_no_door_covers_is_not_there(tmp_path: Path) -> None:
    place = Place(tmp_path, doors={"/serving": Door(name="serving")})
    assert [place.ask(path).status for path in ("/", "/servings", "/other", "/Serving")] == [404] * 4
    assert [place.ask(path).status for path in ("/serving", "/serving/", "/serving/a/b")] == [202] * 3


@pytest.mark.parametrize(
    "path",
    [
        "//serving/pump",
        "/x//y",
        "/./serving",
        "/x/../serving/pump",
        "/..",
        "/x/.",
        "/x\\..\\y",
        "/\x00",
        "",
        "x",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_leads_nowhere(place: Place, path: str) -> None:
    refused = place.ask(path)
    assert (refused.status, refused.faults[0]["field"]) == (400, "path")
    assert place.app.bodies == []


def test_dots_within_a_name_are_a_name(place: Place) -> None:
    assert [place.ask(path).status for path in ("/a.b", "/.well-known", "/...", "/a..b/c")] == [202] * 4


def test_below_a_mount_the_path_is_read_as_the_app_reads_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    create(place.file, "serving")
    assert place.ask("/inner/serving/pump", root_path="/inner").status == 401
    assert place.ask("/inner/events", root_path="/inner").status == 202
    assert place.ask("/serving", root_path="/serving").status == 202, "that is the root below the mount"
    assert place.ask("/serving/x", root_path="/serv").status == 401, "a mount covers whole segments"


def test_mounted_or_not_starlette_routes_where_the_guard_looked(tmp_path: Path) -> None:
    reached: list[str] = []

    async def serving(request: Request) -> Response:
        reached.append(request.url.path)
        return Response()

    routed = Starlette(routes=[Mount("/serving", routes=[Route("/{name:path}", serving)])])
    guard = Guard(routed, PREFIXES, Tokens(tmp_path / "tokens.json"), open_doors=False)
    outer = Starlette(routes=[Mount("/inner", guard), Mount("/", guard)])
    spellings = ["/serving/a", "/inner/serving/a", "//serving/a", "/inner//serving/a", "/x/../serving/a"]
    spellings += ["/serving/", "/inner/serving/", "/inner/inner/serving/a", "/./serving/a", "/serving\\a"]
    statuses = [asyncio.run(ask(outer, path, method="GET")).status for path in spellings]
    assert reached == []
    assert set(statuses) <= {400, 401}


def test_the_same_door_at_two_places_is_one_door(tmp_path: Path) -> None:
    place = Place(tmp_path, doors={"/a": Door(name="admin"), "/b": Door(name="admin")})
    _, token = create(place.file, "admin")
    assert [place.ask(path, token).status for path in ("/a", "/b/c")] == [202, 202]
    assert [place.ask(path).status for path in ("/a", "/b/c")] == [401, 401]


def test_the_lifespan_passes(place: Place) -> None:
    create(place.file, "broker")
    asyncio.run(place.guard({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert place.app.scopes == ["lifespan"]


def websocket(place: Place, path: str, token: str = "") -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "websocket", "path": path, "headers": headers, "client": ("127.0.0.1", 1)}
    asyncio.run(place.guard(scope, None, send))  # type: ignore[arg-type]
    return sent


def test_a_websocket_is_asked_the_same(place: Place) -> None:
    _, token = create(place.file, "broker")
    refusal = [{"type": "websocket.close", "code": 1008}]
    assert websocket(place, "/x") == refusal
    assert websocket(place, "/x", "wrong") == refusal
    assert websocket(place, "/x//y", token) == refusal
    assert place.app.scopes == []
    assert websocket(place, "/x", token) == []
    assert place.app.scopes == ["websocket"]


def test_huge_headers_and_too_many_are_refused_whoever_sends_them(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(max_headers=10, max_header_bytes=1000))
    assert place.ask(headers={"x": "a" * 990}).status == 202
    huge = place.ask(headers={"x": "a" * 1000})
    assert (huge.status, huge.headers["connection"]) == (431, "close")
    assert place.ask(headers={f"x{n}": "" for n in range(10)}).status == 202
    assert place.ask(headers={f"x{n}": "" for n in range(11)}).status == 431
    assert len(place.app.bodies) == 2


def test_a_defect_of_the_app_is_not_hidden(tmp_path: Path) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    guard = Guard(broken, PREFIXES, Tokens(tmp_path / "tokens.json"))
    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(ask(guard))


HEADER = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda junk: b"Bearer " + junk),
    st.text(max_size=40).map(lambda junk: b"bearer hst_broker_" + junk.encode()),
    st.tuples(*[st.binary(max_size=20).map(lambda b: b.hex().encode())] * 3).map(
        lambda p: b"Bearer " + b".".join(p)
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.one_of(st.text(max_size=40), st.text("/.\\%2eF?;ab", max_size=20).map("/serving".__add__)),
    root=st.sampled_from(["", "/", "/serving", "/x"]),
    authorizations=st.lists(HEADER, max_size=3),
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT"]),
    lengths=st.lists(st.binary(max_size=30), max_size=2),
)
@example(path="/x", root="", authorizations=[b"Bearer \xff\xfe"], method="POST", lengths=[b"9" * 5000])
@example(path="/x", root="", authorizations=[], method="POST", lengths=[b"-1", "²".encode()])
def test_whatever_is_sent_it_neither_passes_nor_breaks(
    tmp_path: Path, path: str, root: str, authorizations: list[bytes], method: str, lengths: list[bytes]
) -> None:
    place = Place(tmp_path, open_doors=False)
    if not place.file.exists():
        create(place.file, "broker")
    headers = [(b"authorization", one) for one in authorizations]
    headers += [(b"content-length", one) for one in lengths]
    answer = asyncio.run(ask(place.guard, path, headers, method=method, root_path=root))
    open_to_all = answer.status == 202 and (
        path.removeprefix(root.rstrip("/")) in ("/healthz", "/readyz") or method == "OPTIONS"
    )
    assert open_to_all or answer.status in (400, 401, 403, 413)
    assert open_to_all or place.app.bodies == []


def test_the_longest_prefix_counts_in_whichever_order_they_were_given(tmp_path: Path) -> None:
    place = Place(tmp_path, doors=dict(reversed(PREFIXES.items())))
    create(place.file, "serving")
    assert [place.ask(path).status for path in ("/serving/pump", "/x")] == [401, 202]

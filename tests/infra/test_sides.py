"""Which side of a canary a request goes to, and where the name of its series is found."""

from __future__ import annotations

import random
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.infra.local.exchange import Ask
from homeostat.infra.local.sides import MAX_READ, SERIES_HEADER, Backend, Route, chosen, series_of
from homeostat.models import scoring_request

A, B = Backend("a", ""), Backend("b", "")
V1, V2 = "v1/models/pump:predict", "v2/models/pump/infer"
NAMES = [f"pump-{number}" for number in range(2000)]


def ask(body: bytes = b"", path: str = V1, series: str = "", **headers: str) -> Ask:
    said = {SERIES_HEADER: series.encode()} if series else {}
    said |= {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Ask("POST", path, list(said.items()), body)


def moved(percent: int, detector: str = "pump") -> set[str]:
    """The series that go to the canary."""

    def chance() -> float:
        raise AssertionError("a named series is not left to chance")

    return {one for one in NAMES if chosen(detector, Route(A, B, percent), ask(series=one), chance) is B}


@given(
    stable=st.booleans(),
    canary=st.booleans(),
    percent=st.integers(0, 100),
    seed=st.integers(0, 2**32),
    series=st.text("abc", max_size=5),
)
def test_no_share_is_ever_exceeded_at_its_ends(
    stable: bool, canary: bool, percent: int, seed: int, series: str
) -> None:
    route = Route(A if stable else None, B if canary else None, percent)
    found = chosen("pump", route, ask(series=series), random.Random(seed).random)
    if percent == 0 or not canary:
        assert found == (A if stable else None)
    elif percent == 100 or not stable:
        assert found == B
    else:
        assert found in (A, B)


def test_the_router_and_the_predictor_read_a_series_name_from_the_same_header() -> None:
    assert SERIES_HEADER.decode() == scoring_request.SERIES_HEADER


def test_named_series_split_by_the_canarys_percentage_too() -> None:
    # Binomial(2000, 0.2): four standard deviations are 72 series.
    assert abs(len(moved(20)) - 400) < 72


def test_a_growing_percentage_only_moves_series_to_the_canary() -> None:
    steps = [moved(percent) for percent in (0, 1, 5, 20, 50, 99, 100)]
    assert all(before < after for before, after in pairwise(steps))
    assert (steps[0], steps[-1]) == (set(), set(NAMES))


def test_another_detectors_canary_gets_other_series() -> None:
    # Of 2000 series, 0.2 x 0.2 are expected in both; four standard deviations are 35.
    assert abs(len(moved(20, "pump") & moved(20, "valve")) - 80) < 36


def test_where_a_series_goes_survives_a_restart_of_the_router() -> None:
    """Python's own hash differs from process to process; these were drawn in another one."""
    assert sorted(moved(1))[:5] == ["pump-1154", "pump-1333", "pump-1365", "pump-1589", "pump-1692"]


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), padding=st.integers(0, 99))
def test_a_name_in_the_body_is_found_where_the_predictor_finds_it(name: str, padding: int) -> None:
    v1 = orjson.dumps({"instances": [[1.0]] * padding, "series": name})
    v2 = orjson.dumps({"inputs": [], "parameters": {"explain": True, "series": name}})
    assert series_of(ask(v1)) == series_of(ask(v2, V2)) == name
    binary = {"inference_header_content_length": str(len(v2))}
    assert series_of(ask(v2 + b"\xff" * padding, V2, **binary)) == name


def test_a_name_in_the_header_goes_first() -> None:
    assert series_of(ask(b'{"instances": [[1]], "series": "body"}', series="header")) == "header"


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", "0", "40"])
def test_a_length_that_cannot_be_leaves_no_name(length: str) -> None:
    body = b'{"inputs": [], "parameters": {"series": "pump"}}' + b"\xff"
    assert series_of(ask(body, V2, inference_header_content_length=length)) == ""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, b""),
        (V1, b'{"instances": [[1.0]]}'),
        (V1, b'{"instances": [[1.0]], "parameters": {"series": "pump"}}'),
        (V2, b'{"inputs": [], "series": "pump"}'),
        (V2, b'{"inputs": [], "parameters": "series"}'),
        (V2, b'{"inputs": [{"name": "series"}], "parameters": null}'),
        (V1, b'{"series": null}'),
        (V1, b'{"series": 5}'),
        (V1, b'{"series": ["pump"]}'),
        (V1, b'["series"]'),
        (V1, b'"series"'),
        (V1, b'{"series": "pump"'),
        (V1, b'{"series": "\xff"}'),
        (V1, b'{"series": "\\ud800"}'),
        (V1, b'{"series": ' + b"[" * 100_000),
    ],
)
def test_a_body_without_a_name_leaves_it_to_chance(path: str, body: bytes) -> None:
    drawn = iter([0.1, 0.9])
    sides = [chosen("pump", Route(A, B, 50), ask(body, path), lambda: next(drawn)) for _ in range(2)]
    assert sides == [B, A]


@pytest.mark.parametrize(("spare", "name"), [(0, "pump"), (-1, "")])
def test_a_body_is_read_up_to_a_size(spare: int, name: str) -> None:
    body = b'{"series": "pump"}'
    assert series_of(ask(body.ljust(MAX_READ - spare))) == name


@pytest.mark.parametrize("route", [Route(A), Route(A, B, 0), Route(None, B, 50), Route()])
def test_without_two_sides_no_body_is_read(route: Route) -> None:
    unread = Ask("POST", V1, [], None)  # type: ignore[arg-type]
    assert chosen("pump", route, unread, random.Random(1).random) == (route.stable or route.canary)


def test_a_key_of_the_detectors_decides_before_the_series_does() -> None:
    def side(detector: str = "pump", **headers: str) -> Backend | None:
        route = Route(A, B, 50, key="x-user")
        return chosen(detector, route, ask(b'{"series": "pump-1154"}', **headers), lambda: 1.0)

    sides = {name: side(x_user=name) for name in NAMES[:50]}
    assert set(sides.values()) == {A, B}
    assert all(side(x_user=name, series=other) is found for name, found in sides.items() for other in "ab")
    assert side() is B, "without the header, the series decides as ever"


@given(
    percent=st.integers(0, 100), stable=st.booleans(), canary=st.booleans(), series=st.text("abc", max_size=3)
)
def test_a_shadow_answers_nobody(percent: int, stable: bool, canary: bool, series: str) -> None:
    route = Route(A if stable else None, B if canary else None, percent, shadow=True)
    assert chosen("pump", route, ask(series=series), lambda: 0.0) is route.stable

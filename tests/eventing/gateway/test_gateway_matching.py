"""Which Detector an object belongs to: the longest prefix, at a slash, whatever the address is spelt like."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.gateway.matching import Matcher

PLANT = Matcher(
    {
        "pump": "s3://plant/pump/",
        "pump-spare": "s3://plant/pump/spare",
        "press": "s3a://plant/press",
        "mill": "/data/mill/",
        "fan": "file:///data/fan%20one/",
        "blob": "az://plant/blob/",
        "whole": "gcs://whole",
    }
)


@pytest.mark.parametrize(
    ("uri", "detector"),
    [
        ("s3://plant/pump/2026/a.parquet", "pump"),
        ("s3://plant/pump/spare/a.parquet", "pump-spare"),
        ("s3://plant/pump/spares/a.parquet", "pump"),
        ("s3a://plant/pump/a.parquet", "pump"),
        ("S3://plant/press/a.parquet", "press"),
        ("s3n://plant/press/a.parquet", "press"),
        ("s3://plant/pump2/a.parquet", None),
        ("s3://plant/pump", "pump"),
        ("s3://plant/", None),
        ("s3://other/pump/a.parquet", None),
        ("gs://plant/pump/a.parquet", None),
        ("gs://whole/a/b/c", "whole"),
        ("gs://wholes/a", None),
        ("az://plant/blob/a.csv", "blob"),
        ("/data/mill/a.csv", "mill"),
        ("file:///data/mill/a.csv", "mill"),
        ("file:/data/mill/a.csv", "mill"),
        ("//data//mill//a.csv", "mill"),
        ("/data/mill/../fan one/a.csv", "fan"),
        ("/data/mill/../../etc/passwd", None),
        ("file:///data/mill/%2e%2e/other/a.csv", None),
        ("s3://plant/pump/../press/a.parquet", "pump"),  # a key is a name and not a way
        ("/data/fan one/a.csv", "fan"),
        ("file:///data/fan%20one/a.csv", "fan"),
        ("", None),
        ("/", None),
        ("s3://", None),
        ("file://[", None),
    ],
)
def test_the_longest_covering_uri_wins(uri: str, detector: str | None) -> None:
    assert PLANT(uri) == detector


def test_a_detector_may_have_one_object_only() -> None:
    match = Matcher({"one": "s3://plant/all.parquet"})
    assert (match("s3://plant/all.parquet"), match("s3://plant/all.parquet2")) == ("one", None)


def test_a_detector_may_have_every_file() -> None:
    assert Matcher({"all": "/"})("/anything/at/all") == "all"


def test_no_detectors_match_nothing() -> None:
    assert Matcher({})("s3://plant/pump/a") is None


def test_of_two_with_one_place_it_is_always_the_same_one() -> None:
    assert Matcher({"b": "s3://p/x", "a": "s3a://p/x/"})("s3://p/x/y") == "a"
    assert Matcher({"a": "s3a://p/x/", "b": "s3://p/x"})("s3://p/x/y") == "a"


SEGMENTS = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=5)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), SEGMENTS, max_size=6), SEGMENTS)
def test_the_answer_is_the_one_that_trying_every_detector_gives(
    places: dict[str, list[str]], path: list[str]
) -> None:
    covering = {name: place for name, place in places.items() if path[: len(place)] == place}
    expected = min(covering, key=lambda name: (-len(covering[name]), name), default=None)
    match = Matcher({name: "s3://" + "/".join(place) for name, place in places.items()})
    assert match("s3://" + "/".join(path)) == expected


def test_an_address_of_a_megabyte_of_slashes_takes_no_time() -> None:
    before = time.perf_counter()
    assert PLANT("s3://plant/pump/" + "a/" * 500_000) == "pump"
    assert PLANT("/data/" + "a/" * 500_000) is None
    assert time.perf_counter() - before < 1

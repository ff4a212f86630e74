"""Sound events of every sort, for tests of the wire formats."""

from __future__ import annotations

import string

import orjson
from hypothesis import strategies as st

from homeostat.eventing.wire import WireEvent

text = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u007f"), min_size=1, max_size=40
)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in ("data", "data_base64", "datacontenttype", "time", "specversion")
)
documents = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
json_data = st.none() | documents.map(orjson.dumps)
times = st.sampled_from(["2018-04-05T03:56:24Z", "2026-11-24T12:00:00.123456789+01:00"])
json_events = st.builds(
    lambda core, more, optional, data: WireEvent({**more, **optional, **core, "specversion": "1.0"}, data),
    st.fixed_dictionaries({"id": text, "source": text, "type": text}),
    st.dictionaries(names, text, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "time": times,
            "datacontenttype": st.sampled_from(
                ["application/json", "application/json; charset=utf-8", "text/json", "application/vnd.x+json"]
            ),
        },
    ),
    json_data,
)
binary_events = st.builds(
    lambda event, kind, data: WireEvent({**event.attributes, "datacontenttype": kind}, data),
    json_events,
    st.sampled_from(["application/octet-stream", "text/plain; charset=utf-8", "application/avro"]),
    st.binary(min_size=1, max_size=100),
)
events = json_events | binary_events

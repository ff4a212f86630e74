"""Record a batch of rows that landed, and ask for training once enough new rows are there.

The host has read and checked the object (`models.data`); what arrives here is a batch that was accepted.
Storage announces at least once and in any order, so a batch is known by its etag, and an older version of
an object (a smaller sequencer) changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from homeostat.eventing.messages import DataLanded, TrainingRequested

from .detector import Batch, Detector, Message

MAX_BATCHES = 500
"""A status stays small enough for a Kubernetes object (1.5 MB in etcd); older batches leave it first."""


def decide(event: DataLanded, detector: Detector, batch: Batch | None) -> Iterable[Message]:
    """No `batch`: the object was written anew since, and that is announced by an event of its own."""
    if batch is None or recorded(detector, batch.uri, batch.etag, batch.sequencer):
        return
    new_rows = detector.status.new_rows + batch.rows
    kept = [one for one in detector.status.batches if one.uri != batch.uri]
    yield detector.remember(
        batches=newest([*kept, batch], detector.spec.retrain.max_rows),
        new_rows=new_rows,
    )
    if new_rows >= detector.spec.retrain.min_new_rows:
        yield TrainingRequested(trigger="data", reason=f"{new_rows} new rows")


def recorded(detector: Detector, uri: str, etag: str, sequencer: str) -> Batch | None:
    """The batch on record that makes this version of the object no news: it is the same one, or a newer."""
    known = next((one for one in detector.status.batches if one.uri == uri), None)
    return known if known and (known.etag == etag or _older(sequencer, known.sequencer)) else None


def _older(one: str, other: str) -> bool:
    """S3 compares sequencers per key, the shorter one padded on its right with zeros."""
    width = max(len(one), len(other))
    return bool(one and other) and one.ljust(width, "0") < other.ljust(width, "0")


def newest(batches: list[Batch], max_rows: int) -> tuple[Batch, ...]:
    """The newest batches, oldest first, that together hold `max_rows`; the one that crosses it stays."""
    kept: list[Batch] = []
    rows = 0
    for batch in reversed(sorted(batches, key=lambda one: one.landed)[-MAX_BATCHES:]):
        if rows >= max_rows:
            break
        kept.append(batch)
        rows += batch.rows
    return tuple(reversed(kept))

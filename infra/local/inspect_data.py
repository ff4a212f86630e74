"""Look at an object that was announced, before anything trains on it."""

from __future__ import annotations

from datetime import datetime

from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.messages import DataLanded
from homeostat.functions.detector import Batch
from homeostat.functions.spec import Spec
from homeostat.models.data import inspect
from homeostat.models.storage import MAX_BYTES, DataError, shown_size, told

_ARRIVING = 5.0  # seconds until an object that is announced too early is looked at again


def inspect_batch(event: DataLanded, spec: Spec, now: datetime, max_bytes: int = MAX_BYTES) -> Batch:
    """The batch that the object holds. Reads it whole: call it in a thread.

    Only objects under the Detector's `data.uri` are opened. Raises Reject with every fault of the object, and
    Retry while it is not there or has another size or etag than announced: some stores announce an object
    before it is complete (Azure with hierarchical namespaces, Ceph's multipart uploads).
    """
    root = spec.data.uri
    try:
        _check_announced(event, root, max_bytes)
        facts = inspect(
            event.uri,
            time=spec.data.time,
            channels=spec.data.channels,
            label=spec.data.label,
            timezone=spec.data.timezone,
            missing=spec.features.missing,
            root=root,
            max_bytes=max_bytes,
        )
    except DataError as error:
        raise Reject(Fault(_field(one.field), one.value, one.mend) for one in error.faults) from None
    except FileNotFoundError:
        raise Retry(f"{event.uri} is not there yet", after=_ARRIVING) from None
    except OSError as error:
        raise Retry(f"{event.uri} cannot be read now: {error}", after=_ARRIVING) from error
    return Batch(
        uri=event.uri,
        # A store that tells no version is known by the rows.
        etag=event.etag or facts.fingerprint,
        rows=facts.rows,
        sequencer=event.sequencer,
        first=facts.first,
        last=facts.last,
        landed=now,
    )


def _check_announced(event: DataLanded, root: str, limit: int) -> None:
    """An object is taken once its size and its etag are those that were announced. What is announced as too
    large is refused at once, however much of it has arrived."""
    if event.size is not None and event.size > limit:
        mend = f"split the file or raise HOMEOSTAT_MAX_OBJECT_BYTES (now {shown_size(limit)})"
        raise Reject(Fault("data.size", f"{event.size} ({shown_size(event.size)})", mend))
    now = told(event.uri, root=root)
    if event.size is not None and now.size is not None and now.size != event.size:
        raise Retry(f"{event.uri} has {now.size} of the announced {event.size} bytes", after=_ARRIVING)
    if event.etag and now.etag and now.etag != event.etag:
        what = f"{event.uri} has the etag {now.etag}, {event.etag} was announced"
        raise Retry(f"{what}: it is written anew, or not yet complete", after=_ARRIVING)


def _field(name: str) -> str:
    return f"data.{name}" if name == "uri" else name

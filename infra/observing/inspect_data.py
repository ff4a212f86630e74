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


def inspect_batch(
    event: DataLanded,
    spec: Spec,
    now: datetime,
    max_bytes: int = MAX_BYTES,
    *,
    announced: datetime | None = None,
) -> Batch | None:
    """The batch that the object holds; None when it was written anew after it was `announced`, for then
    there is, or will be, another event of it. Reads it whole: call it in a thread.

    Only objects under the Detector's `data.uri` are opened. Raises Reject with every fault of the object, and
    Retry while it is not there or has another size or etag than announced: some stores announce an object
    before it is complete (Azure with hierarchical namespaces, Ceph's multipart uploads).
    """
    root = spec.data.uri
    try:
        if not _is_announced(event, root, max_bytes, announced):
            return None
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


def _is_announced(event: DataLanded, root: str, limit: int, announced: datetime | None) -> bool:
    """Whether size and etag are those that were announced; False for a later version. What is announced as
    too large is refused at once, however much of it has arrived. Raises Retry for what is not complete."""
    if event.size is not None and event.size > limit:
        mend = f"split the file or raise HOMEOSTAT_MAX_OBJECT_BYTES (now {shown_size(limit)})"
        raise Reject(Fault("data.size", f"{event.size} ({shown_size(event.size)})", mend))
    found = told(event.uri, root=root)
    same_size = None in (event.size, found.size) or event.size == found.size
    same_version = "" in (event.etag, found.etag) or event.etag == found.etag
    if same_size and same_version:
        return True
    # Stores tell whole seconds. Others of the Detector wait behind this event, so nothing is waited for that
    # will not come back.
    if announced is not None and found.modified >= int(announced.timestamp()):
        return False
    if not same_size:
        what = f"{found.size} of the announced {event.size} bytes"
    else:
        what = f"the etag {found.etag}, {event.etag} was announced"
    raise Retry(f"{event.uri} has {what}", after=_ARRIVING)


def _field(name: str) -> str:
    return f"data.{name}" if name == "uri" else name

"""Look at an object that landed: is it whole, may it be read, and what does it hold?"""

from __future__ import annotations

from datetime import datetime

from homeostat.eventing.errors import Fault, Reject, Retry, shown
from homeostat.eventing.messages import DataLanded
from homeostat.functions.detector import Batch, Spec
from homeostat.models.data import inspect
from homeostat.models.storage import DataError, size_of

NOT_YET_SECONDS = 2.0


def inspect_batch(event: DataLanded, spec: Spec, now: datetime, max_bytes: int) -> Batch:
    """The batch, read and checked against the Detector's data section.

    Raises Reject with every fault of the data, Retry while the object is not there or still grows.
    """
    data = spec.data
    try:
        size = size_of(event.uri, root=data.uri)
        if event.size is not None and size < event.size:
            raise Retry(f"{event.uri} holds {size} of {event.size} bytes", after=NOT_YET_SECONDS)
        facts = inspect(
            event.uri,
            time=data.time,
            channels=data.channels,
            label=data.label,
            root=data.uri,
            max_bytes=max_bytes,
        )
    except DataError as error:
        raise Reject([Fault(one.field, one.value, one.mend) for one in error.faults]) from None
    except FileNotFoundError:
        raise Retry(f"there is no {event.uri} (yet)", after=NOT_YET_SECONDS) from None
    except PermissionError as error:
        raise Reject(Fault("uri", shown(event.uri), f"cannot be read: {error.strerror}")) from None
    except OSError as error:
        raise Retry(f"{event.uri}: {error}", after=NOT_YET_SECONDS) from None
    return Batch(
        uri=event.uri,
        # Without a version from the store, the size tells at least some changes apart.
        etag=event.etag or f"{size} bytes",
        rows=facts.rows,
        sequencer=event.sequencer,
        first=facts.first,
        last=facts.last,
        landed=now,
    )

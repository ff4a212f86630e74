"""What stores send when an object has landed, one vendor's format per file, as `DataLanded`.

    translate(headers, body) -> list[Translated]        STORAGE, by the vendor's name in the path
    stored(headers, body, store) -> list[Translated]    KEEPING: the object itself is the body

Header names are lower case. Both are pure but for `store(name, body)`, which keeps the bytes and returns
their address. They raise Reject with every fault at once, and an empty list says that the notification is
well-formed and nothing landed (a removal, a test event). No address in a payload is ever opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..translated import Translated
from . import azure, eventbridge, gcs, knative_s3, pubsub, s3
from .azure import handshake
from .landed import landed

Translate = Callable[[Mapping[str, str], bytes], list[Translated]]
Store = Callable[[str, bytes], str]
Keep = Callable[[Mapping[str, str], bytes, Store], list[Translated]]

STORAGE: Mapping[str, Translate] = {
    "s3": s3.translate,
    "eventbridge": eventbridge.translate,
    "gcs": gcs.translate,
    "pubsub": pubsub.translate,
    "azure": azure.translate,
}
KEEPING: Mapping[str, Keep] = {"knative-s3": knative_s3.stored}

__all__ = ["KEEPING", "STORAGE", "Keep", "Store", "Translate", "handshake", "landed"]

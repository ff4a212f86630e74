"""When a failed delivery is tried again: Knative's data plane, § "Retry"."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .manifests import Delivery
from .senders import Answer

RETRIED = frozenset({404, 408, 409, 429})
MAX_DOUBLINGS = 20
"""Beyond, exponential backoff stays level: 0.2 s has become two days."""


def is_success(code: int | None) -> bool:
    return code is not None and 200 <= code < 300


def is_retried(code: int | None) -> bool:
    """Knative's retry table: no answer, 404, 408, 409, 429 and 5xx are tried again, other answers are not."""
    return code is None or code in RETRIED or code >= 500


def pause(delivery: Delivery, count: int, answer: Answer) -> float:
    """Seconds before attempt `count` + 1, jittered by a tenth. A Retry-After may prolong it to its limit."""
    delay = delivery.delay.total_seconds()
    backoff = delay * (count if delivery.policy == "linear" else 2 ** min(count - 1, MAX_DOUBLINGS))
    asked = min(_retry_after(answer), delivery.retry_after_max.total_seconds())
    return max(backoff, asked) * (1 + 0.1 * random.random())  # noqa: S311 - jitter, no secret


def _retry_after(answer: Answer) -> float:
    """RFC 9110 §10.2.3: seconds, or a date. 0 for anything else."""
    text = answer.header("retry-after")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0

"""Which answers were wrong, as labels come: the drift host's own book of answers and labels.

It is kept only of detectors whose errors are watched. What is wrong with a label, take-label says.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import InferenceResponse, LabelReceived
from homeostat.functions import labels
from homeostat.functions.detector import Detector

from . import scored_rows
from .label_book import Kept, LabelBook
from .label_bounds import Limits

LIMITS = Limits(answers=50_000, rows=500_000, errors=2_000)
"""Fewer than where quality is measured: errors are tested on the latest few hundred."""


class DriftLabels:
    """Thread-safe. `db` is opened when it is first needed, and may be the file of others too."""

    def __init__(self, db: Path) -> None:
        self._path = db
        self._lock = threading.Lock()
        self._book: LabelBook | None = None

    @property
    def book(self) -> LabelBook:
        with self._lock:
            if self._book is None:
                self._book = LabelBook(self._path, LIMITS)
            return self._book

    def close(self) -> None:
        if self._book:
            self._book.close()

    def put(self, event: InferenceResponse | LabelReceived, context: Context, detector: Detector) -> bool:
        """Whether it was put down, once however often it comes."""
        try:
            what = labels.read(event) if isinstance(event, LabelReceived) else scored_rows.read(event)
        except Reject:
            return False
        if what is None:
            return False
        at = labels.time_of(context.time) or detector.now
        kept = Kept(detector.name, context.source, context.id, at, detector.now, what)
        return self.book.put([kept]) == [None]

    def errors(self, name: str, revision: str, after: int) -> tuple[NDArray[np.float64], int]:
        """(k,) errors, 0 or 1, of rows of the revision that got their first label later than the `after`-th
        entry of the book, and the number of the last."""
        found = self.book.errors(name, revision, after)
        together = b"".join(errors for _, errors in found)
        return np.frombuffer(together, np.uint8).astype(np.float64), found[-1][0] if found else after

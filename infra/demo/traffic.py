"""Requests as a plant would send them: blocks of rows in time order, at a steady pace, from one thread."""

from __future__ import annotations

import threading
import time
from collections import Counter

import httpx
import numpy as np
import pandas as pd

from homeostat.models.simulator import CHANNELS

from .story import DETECTOR

REQUESTS_PER_SECOND = 30
ROWS = 10


class Traffic:
    """Sends until it is stopped. `failed` counts what the plant would have noticed: anything but 200 once
    something served; `early` counts what came before."""

    def __init__(self, url: str) -> None:
        self.sent = 0
        self.failed = 0
        self.early = 0
        self.by_revision: Counter[str] = Counter()
        self.anomalies: Counter[str] = Counter()
        self._url = f"{url}/serving/{DETECTOR}/v1/models/{DETECTOR}:predict"
        self._rows = np.empty((0, len(CHANNELS)))
        self._at = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic", daemon=True)

    def switch(self, frame: pd.DataFrame) -> None:
        """From now on send these rows, again and again."""
        self._rows, self._at = frame[list(CHANNELS)].to_numpy(float), 0
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _block(self) -> list[list[float]]:
        rows = self._rows
        if self._at + ROWS > len(rows):
            self._at = 0
        block = rows[self._at : self._at + ROWS]
        self._at += ROWS
        return block.tolist()  # type: ignore[no-any-return]

    def _send(self) -> None:
        with httpx.Client(timeout=10) as client:
            due = time.monotonic()
            while not self._stop.is_set():
                self._request(client)
                due = max(due + 1 / REQUESTS_PER_SECOND, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _request(self, client: httpx.Client) -> None:
        self.sent += 1
        try:
            answer = client.post(self._url, json={"instances": self._block()})
        except httpx.TransportError:
            self.failed += 1
            return
        if answer.status_code == 503 and not self.by_revision:
            # Nothing serves yet, and the router said so.
            self.early += 1
            return
        if answer.status_code != 200:
            self.failed += 1
            return
        revision = answer.headers.get("x-homeostat-revision", "")
        self.by_revision[revision] += 1
        self.anomalies[revision] += sum(one["anomaly"] for one in answer.json()["predictions"])

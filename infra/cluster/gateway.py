"""The gateway as a Service of its own: the doors of eventing/gateway behind their guard, before the broker.

Its tokens and signatures are those files that `homeostat tokens` writes, in the Secret `homeostat-doors`. A
door without either is shut, unless `HOMEOSTAT_OPEN_DOORS` says that network policies are enough.
"""

from __future__ import annotations

import posixpath
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from homeostat.eventing.doors import Guard, Limits, Signatures, Tokens
from homeostat.eventing.gateway.app import Accept, gateway
from homeostat.eventing.gateway.matching import Matcher

from ..doors import RATES, doors_at, gateway_paths
from ..serve import GATEWAY, probes
from ..served import Served
from .client import DETECTORS, Objects
from .settings import Settings

MOUNT = "/gateway"
SECRET = Path("/etc/homeostat/doors")
KNOWN_SECONDS = 10.0
"""So long a list of Detectors is good for: stores announce many objects at a time."""


class Places:
    """Where each Detector's data lies, as the API server said within `KNOWN_SECONDS`. Thread-safe.

    Before an object is believed to be nobody's it is asked anew, once for all that wait: its Detector may
    just have been applied.
    """

    def __init__(self, objects: Objects, clock: Callable[[], float] = time.monotonic) -> None:
        self._objects, self._clock, self._lock = objects, clock, threading.Lock()
        self._asked, self._matcher = float("-inf"), Matcher({})

    def match(self, uri: str) -> str | None:
        """The Detector whose the object is."""
        came = self._clock()
        found = self._matcher(uri)
        if found is not None and came - self._asked < KNOWN_SECONDS:
            return found
        with self._lock:
            if self._asked < came:
                asked = self._clock()
                self._matcher = Matcher(self._uris())
                self._asked = asked
            return self._matcher(uri)

    def _uris(self) -> Mapping[str, str]:
        return {
            str(one["metadata"]["name"]): str(one.get("spec", {}).get("data", {}).get("uri", ""))
            for one in self._objects.list(DETECTORS)
        }


def gateway_app(settings: Settings, objects: Objects, accept: Accept, secret: Path = SECRET) -> ASGIApp:
    """The app, to be served as it is. `accept` posts to the broker."""
    served = Served()
    doors = gateway(
        accept,
        Places(objects).match,
        max_body=settings.max_body_bytes,
        store=lambda name, content: keep(f"{settings.objects_url}/uploads", name, content),
        registry=served.registry,
    )

    paths = gateway_paths(MOUNT)
    known = doors_at(RATES, set(paths.values()))
    return Guard(
        Starlette(routes=[*probes(GATEWAY, served), Mount(MOUNT, doors)]),
        {prefix: known[name] for prefix, name in paths.items()},
        Tokens(secret / "tokens.json"),
        signatures=Signatures(secret / "signatures.json"),
        limits=Limits(max_body=settings.max_body_bytes),
        open_doors=settings.open_doors,
        # Prometheus comes without a token; network policies let nobody else to this path's port.
        open_paths={"/healthz", "/readyz", "/metrics"},
    )


def keep(folder: str, name: str, content: bytes) -> str:
    """Write an object that came as data, under its plain name; its address. A second time changes nothing.
    Raises OSError while the store does not take it."""
    from fsspec.core import url_to_fs

    address = f"{folder}/{Path(name).name}"
    system, path = url_to_fs(address)
    system.makedirs(posixpath.dirname(path), exist_ok=True)
    system.pipe_file(path, content)
    return address

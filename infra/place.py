"""Where a verb of the command line works: on the home of this machine, or with --context on a cluster. Both
have the same methods."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeostat.functions.spec import Spec

from .chain import Link
from .terminal import settings

if TYPE_CHECKING:
    from .cluster.place import OnCluster


class OnMachine:
    """The home that keeps its files under a state directory."""

    def __init__(self, state: Path) -> None:
        self._settings = settings(state)

    def apply(self, wanted: Sequence[tuple[str, Spec]]) -> list[tuple[str, str]]:
        """Each Detector's name, and created, changed or unchanged."""
        from .local.store import Store

        store = Store(self._settings.detectors_db)
        with contextlib.closing(store):
            return [(name, store.apply(name, spec)) for name, spec in wanted]

    def detectors(self) -> Sequence[Mapping[str, Any]]:
        """Every Detector with its spec and status."""
        from .local.views import statuses

        return statuses(self._settings)

    def detector(self, name: str) -> Mapping[str, Any]:
        """Raises Reject for an unknown one."""
        from .local.client import status_of

        return status_of(self._settings, name)

    def why(self, name: str) -> list[Link]:
        """The chain to what serves. Raises Reject when there is none."""
        from .local.views import explain

        return explain(self._settings, name)

    def post(self, type: str, subject: str, data: Mapping[str, Any], cause: str | None = None) -> str:
        """Hand one event to the broker; its id. Raises Reject when it is not taken."""
        from .local.client import post

        return post(self._settings, type, subject, data, cause)


@contextlib.contextmanager
def place(state: Path, context: str | None, namespace: str) -> Iterator[OnMachine | OnCluster]:
    if not context:
        yield OnMachine(state)
        return
    from .cluster.place import OnCluster
    from .cluster.remote import connected

    with connected(context) as http:
        yield OnCluster(http, namespace)

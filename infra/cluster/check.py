"""`homeostat cluster check`: what a cluster lacks of what an overlay needs, each finding with its mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..findings import Finding
from . import check_kinds, check_objects, check_parts, check_rights, check_ways
from .broker_way import service_of
from .check_sources import Source, Unknown
from .kustomized import Object
from .render import NAMESPACE, rendered

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Look:
    """Where is looked, for which overlay."""

    source: Source
    overlay: str
    objects: list[Object]


def _kinds(look: Look) -> Iterator[Finding]:
    mode = check_ways.current(look.source, look.objects).get("HOMEOSTAT_SERVING_MODE", "knative")
    return check_kinds.kinds(look.source, look.objects, mode)


def _versions(look: Look) -> Iterator[Finding]:
    settings = check_ways.current(look.source, look.objects)
    return check_parts.versions(look.source, check_kinds.needed(look.objects, settings))


def _ways(look: Look) -> Iterator[Finding]:
    return check_ways.ways(look.source, check_ways.current(look.source, look.objects))


def _yours(look: Look) -> Iterator[Finding]:
    if not look.source.is_live:  # an export is nobody's
        return iter(())
    found = service_of(check_ways.ingress(look.source))
    return check_rights.yours(look.source, NAMESPACE, found[1] if found else None)


LOOKS: dict[str, Callable[[Look], Iterator[Finding]]] = {
    "the version of Kubernetes": lambda look: check_parts.kubernetes(look.source),
    "the kinds that are used": _kinds,
    "our CRD": lambda look: check_kinds.ours(look.source),
    "the parts' versions": _versions,
    "what is installed of ours": lambda look: check_objects.applied(look.source, look.objects, look.overlay),
    "settings": lambda look: check_ways.settings(look.source, look.objects),
    "images": lambda look: check_objects.images(look.source, look.objects, look.overlay),
    "secrets": lambda look: check_objects.secrets(look.source, look.objects),
    "the broker": lambda look: check_ways.broker(look.source, look.objects),
    "what is ready": lambda look: check_objects.ready(look.source, look.objects),
    "ways to the parts": _ways,
    "the functions' rights": lambda look: check_rights.accounts(look.source, look.objects),
    "your own rights": _yours,
}


def examine(source: Source, overlay: str, tell: Tell = lambda _: None) -> Iterator[Finding]:
    """Every finding, good and bad, as it comes; `tell` hears what is looked at next. Raises Unreachable."""
    look = Look(source, overlay, rendered(overlay))
    told: set[str] = set()
    for name, part in LOOKS.items():
        tell(name)
        try:
            for finding in part(look):
                told.add(finding.what)
                yield finding
        except Unknown as unknown:
            if unknown.what not in told:
                told.add(unknown.what)
                yield Finding(unknown.what, False, unknown.found, unknown.mend)

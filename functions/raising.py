"""Alerts of a detector's own figures, in the words of Prometheus': each fires once, and is resolved once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256

from homeostat.eventing.messages import AlertFired, AlertResolved

from .detector import Detector, Raised


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an alert of a figure of a revision is to be out; where nothing is said of it, it stays as it
    is."""

    alertname: str
    revision: str
    figure: str
    fires: bool
    summary: str = ""


def settled(
    detector: Detector, revisions: Collection[str], verdicts: Iterable[Verdict]
) -> tuple[tuple[Raised, ...], list[AlertFired | AlertResolved]]:
    """What is out from now on, and what is to be said of it. Alerts of revisions that are none of these end:
    they are of no concern any more."""
    out = {one.fingerprint: one for one in detector.status.raised}
    now = detector.now.isoformat().replace("+00:00", "Z")
    over = {print_ for print_, one in out.items() if one.labels["revision"] not in revisions}
    news: list[AlertFired | AlertResolved] = []
    for one in verdicts:
        print_ = fingerprint(detector.name, one)
        if not one.fires:
            over |= {print_} & out.keys()
        elif print_ not in out:
            labels = {"detector": detector.name, "revision": one.revision, "figure": one.figure}
            out[print_] = Raised(alertname=one.alertname, fingerprint=print_, starts_at=now, labels=labels)
            news.append(_fired(out[print_], one.summary))
    news += [_resolved(out.pop(print_), now) for print_ in sorted(over)]
    return tuple(out.values()), news


def fingerprint(detector: str, of: Verdict) -> str:
    """Sixteen hexadecimal digits, as Alertmanager's are."""
    return sha256("\0".join((detector, of.revision, of.alertname, of.figure)).encode()).hexdigest()[:16]


def _fired(one: Raised, summary: str) -> AlertFired:
    return AlertFired(
        alertname=one.alertname,
        fingerprint=one.fingerprint,
        starts_at=one.starts_at,
        labels={"alertname": one.alertname, **one.labels},
        annotations={"summary": summary},
    )


def _resolved(one: Raised, now: str) -> AlertResolved:
    return AlertResolved(
        alertname=one.alertname,
        fingerprint=one.fingerprint,
        starts_at=one.starts_at,
        ends_at=now,
        labels={"alertname": one.alertname, **one.labels},
    )

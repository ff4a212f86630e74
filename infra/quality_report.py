"""What labels say of a Detector's revisions, side by side, from its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from homeostat.functions.detector import Quality, Status
from homeostat.functions.quality import Estimate, differences, estimates, labelled

FIGURES = ("precision", "recall", "false_alarms_per_day")
COLUMNS = ("revision", "role", "labelled rows", "anomalous", *(one.replace("_", " ") for one in FIGURES))


def report(document: Mapping[str, Any]) -> dict[str, Any]:
    """Of each revision its figures between their bounds at 95 %; and what the canary has more of than what
    serves, or without a canary, what serves than the one before."""
    found = document["status"]
    status = Status.model_validate({key: value for key, value in found.items() if key in Status.model_fields})
    roles = _roles(status)
    revisions = [
        {"revision": name, "role": role, **_said(status.quality.get(name))} for role, name in roles.items()
    ]
    return {
        "detector": document["metadata"]["name"],
        "revisions": revisions,
        "difference": _difference(roles, status.quality),
        "unmatched_labels": status.unmatched,
        "bands": _bands(status),
        "alerts": [one.model_dump() for one in status.raised],
    }


def _roles(status: Status) -> dict[str, str]:
    on_trial = status.canary.revision if status.canary else None
    found = {"serving": status.serving, "canary": on_trial, "previous": status.previous}
    return {role: one.name for role, one in found.items() if one}


def _said(one: Quality | None) -> dict[str, Any]:
    if one is None:
        return {"labelled": 0, "anomalous": 0, "measured": None} | dict.fromkeys(FIGURES)
    return {
        "labelled": labelled(one),
        "anomalous": one.caught + one.missed,
        "measured": one.measured,
        **_plain(estimates(one)),
    }


def _difference(roles: Mapping[str, str], quality: Mapping[str, Quality]) -> dict[str, Any] | None:
    of, to = ("canary", "serving") if "canary" in roles else ("serving", "previous")
    names = [roles.get(of), roles.get(to)]
    ours, theirs = (quality.get(name) if name else None for name in names)
    if ours is None or theirs is None:
        return None
    return {"of": names[0], "to": names[1], **_plain(differences(ours, theirs))}


def _bands(status: Status) -> dict[str, Any] | None:
    """Of what serves without labels: by figure, how far its last rows may lie from its first ones."""
    known = status.bands
    if not known.revision:
        return None
    return {
        "revision": known.revision,
        "warm_up": "over" if known.usual else f"{len(known.warming)} blocks",
        "limits": known.limits,
    }


def _plain(found: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: asdict(one) if one else None for name, one in found.items()}


def row(one: Mapping[str, Any]) -> tuple[str, ...]:
    """One revision's `COLUMNS`."""
    return (
        one["revision"],
        one["role"],
        str(one["labelled"]),
        str(one["anomalous"]),
        *(between(name, one[name]) for name in FIGURES),
    )


def between(figure: str, one: Mapping[str, float] | None, signed: bool = False) -> str:
    """`81.0 % (70.2 to 88.6)`, or of a rate `2.1 (0.7 to 5.0)`."""
    if one is None:
        return "-"
    scale, unit = (1, "") if figure == "false_alarms_per_day" else (100, " %")
    form = "+.1f" if signed else ".1f"
    value, low, high = (format(one[name] * scale, form) for name in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"

"""The verbs of labels: `label` says what rows were, `quality` shows what labels say of the revisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from homeostat.eventing import codec
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import LabelReceived
from homeostat.functions import labels

from .place import place
from .quality_report import COLUMNS, FIGURES, between, report, row
from .terminal import NAMESPACE, STATE, Context, Namespace, Output, State, out, plain, print_json, told

Name = Annotated[str, typer.Argument(help="The Detector's name.")]

OPTIONS = {
    "data.request": "--request",
    "data.rows": "--rows",
    "data.start": "--from",
    "data.end": "--to",
}
"""What a label's fields are called here."""


@told
def label(
    detector: Name,
    anomalous: Annotated[bool, typer.Option("--anomalous/--normal", help="What the rows were.")],
    request: Annotated[
        str, typer.Option(help="The inference request's id: its header ce-id, or V2's own id.")
    ] = "",
    rows: Annotated[
        str, typer.Option(help="Places of its rows, 0 being the first, such as 3,4 (default: all).")
    ] = "",
    start: Annotated[
        str, typer.Option("--from", help="Or all rows that were asked about from this time (RFC 3339)")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="until before this one.")] = "",
    series: Annotated[str, typer.Option(help="With --from and --to: of this series.")] = "",
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Say what rows were that the detector was asked about; a later label of the same rows corrects this one.

    Example: [bold]homeostat label pump --request 7c0e… --rows 3,4 --anomalous --by ada[/bold], or
    [bold]homeostat label pump --from 2026-11-24T13:00:00Z --to 2026-11-24T13:05:00Z --normal[/bold]
    """
    event = LabelReceived(
        anomalous=anomalous, request=request, rows=_places(rows), start=start, end=end, series=series, by=by
    )
    try:
        labels.read(event)
    except Reject as refused:
        named = [
            Fault(OPTIONS.get(one.field, one.field), one.value, _here(one.mend)) for one in refused.faults
        ]
        raise Reject(named) from None
    with place(state, context, namespace) as where:
        where.detector(detector)  # an unknown one is told here, not by a dead letter
        identity = where.post(LabelReceived.type, detector, codec.data(event))
    if output == "json":
        print_json({"id": identity, "type": LabelReceived.type, "subject": detector})
    else:
        out.print(plain(f"labelled {'anomalous' if anomalous else 'normal'}: {identity}"), soft_wrap=True)


def _places(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in text.split(",")) if text else ()
    except ValueError:
        raise Reject(Fault("--rows", shown(text), "give places with commas between, such as 3,4")) from None


def _here(mend: str) -> str:
    for field, option in OPTIONS.items():
        mend = mend.replace(field, option)
    return mend


@told
def quality(
    detector: Name,
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Show what labels say of the revisions: the canary beside what serves, with bounds at 95 %.

    Example: [bold]homeostat quality pump[/bold], on a cluster
    [bold]homeostat quality pump --context plant[/bold]
    """
    with place(state, context, namespace) as where:
        found = report(where.detector(detector))
    if output == "json":
        print_json(found)
        return
    if not found["revisions"]:
        out.print("nothing serves yet; see `homeostat status`")
        return
    table = Table(*COLUMNS)
    for one in found["revisions"]:
        table.add_row(*map(plain, row(one)))
    out.print(table)
    if more := found["difference"]:
        said = ", ".join(f"{one.replace('_', ' ')} {between(one, more[one], True)}" for one in FIGURES)
        out.print(plain(f"{more['of']} less {more['to']}: {said}"), soft_wrap=True)
    for one in found["alerts"]:
        out.print(plain(f"{one['alertname']} of {one['labels']['figure']} since {one['starts_at']}"))
    if found["unmatched_labels"]:
        out.print(f"{found['unmatched_labels']} labels fitted no row that was answered")


VERBS: tuple[Callable[..., None], ...] = (quality, label)

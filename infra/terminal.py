"""What every verb of the command line shares: its options, its two consoles, and how errors are told.

0 done, 1 the home or an event refused, 2 wrong usage, 3 there is no such thing, or no answer.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, ParamSpec, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.status import Status
from rich.text import Text

from homeostat.eventing.broker.schema import DamagedStore
from homeostat.eventing.errors import Reject, Retry

from .findings import Finding
from .local.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

out = Console()
err = Console(stderr=True)

Output = Annotated[
    Literal["text", "json"], typer.Option("--output", "-o", help="For people or for programs.")
]
State = Annotated[
    Path, typer.Option(envvar="HOMEOSTAT_STATE", help="The directory that holds everything the home knows.")
]
STATE = Path(".homeostat")
Context = Annotated[
    str | None,
    typer.Option(envvar="HOMEOSTAT_CONTEXT", help="A kubeconfig's context: work on that cluster instead."),
]
Namespace = Annotated[str, typer.Option(help="With --context: where the Detectors are.")]
NAMESPACE = "homeostat"


UNANSWERED = ("Unreachable", "Timeout", "Unauthorized", "ServerError", "Throttled")
"""Kinds of Retry that are no answer."""


class Unanswered(Exception):
    """What was asked does not answer, or does not let us in."""


def fail(message: str, code: int = 1) -> NoReturn:
    err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def told(verb: Callable[P, R]) -> Callable[P, R]:
    """Errors that we foresee are told by fault, without a traceback."""

    @wraps(verb)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(*args, **kwargs)
        except Reject as rejected:
            fail("\n".join(map(str, rejected.faults)))
        except Retry as later:
            fail(str(later), 3 if later.kind in UNANSWERED else 1)
        except Unanswered as unanswered:
            fail(str(unanswered), 3)
        except DamagedStore as damaged:
            fail(str(damaged))
        except ValidationError as error:
            fail("\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()), 2)

    return safe


def plain(text: str) -> Text:
    """What a stranger wrote, as a terminal may show it: no markup and no control sequences."""
    safe = (one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)
    return Text("".join(safe))


def print_json(document: Any) -> None:
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


@contextlib.contextmanager
def aside(progress: Status) -> Iterator[None]:
    """The progress that stderr shows stands aside while stdout is written: both may be one terminal."""
    progress.stop()
    yield
    sys.stdout.flush()
    progress.start()


def print_finding(one: Finding) -> None:
    mark = "[green]ok[/green]  " if one.ok else "[red]mend[/red]"
    out.print(mark, Text(f"{one.what}: {one.found}" + ("" if one.ok else f": {one.mend}")), soft_wrap=True)
    if one.ok and one.advice:
        out.print(Text(f"     {one.advice}"), style="dim", soft_wrap=True)


def settings(state: Path, **flags: Any) -> Settings:
    return Settings(state=state, **{name: value for name, value in flags.items() if value is not None})

"""What people order: dead letters redriven or dropped, history replayed, triggers paused.

Orders are written into the broker's file, whether it runs or not; a running broker sees them within a second,
and they hold across restarts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .filters import Filter
from .log import Dead, EventLog, Logged
from .schema import connect

_PAGE = 1000


class NoSuch(Exception):
    """There is no trigger or dead letter of that name; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One trigger: how many events lie behind its cursor, how many wait to be tried again, how many are dead
    letters, and whether it rests."""

    trigger: str
    lag: int
    retrying: int
    dead: int
    paused: bool


class Control:
    """Orders to the broker of one file. Raises DamagedStore for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)
        self.log = EventLog(path)

    def close(self) -> None:
        self.log.close()
        self._db.close()

    def triggers(self) -> list[Standing]:
        lag = self.log.lag()
        paused = self.log.paused()
        return [
            Standing(
                name, lag[name], self._count("attempts", name), self._count("dead", name), name in paused
            )
            for name in sorted(lag)
        ]

    def _count(self, table: str, trigger: str) -> int:
        query = f"SELECT count(*) FROM {table} WHERE trigger = ?"  # noqa: S608 - our own names
        return int(self._db.execute(query, (trigger,)).fetchone()[0])

    # --- dead letters ---------------------------------------------------------------------------------------
    def letters(self, numbers: Sequence[int] = (), trigger: str | None = None) -> list[Dead]:
        """Dead letters: all, of this trigger, or those with these numbers among them. Raises NoSuch."""
        if trigger is not None:
            self._known(trigger)
        letters = [one for one in self.log.dead() if trigger in (None, one.trigger)]
        known = {one.number for one in letters}
        if missing := [str(one) for one in numbers if one not in known]:
            there = ", ".join(map(str, sorted(known)[:20])) or "none"
            whose = f" of {trigger}" if trigger else ""
            raise NoSuch(f"there is no dead letter {', '.join(missing)}{whose}; there are: {there}")
        return [one for one in letters if not numbers or one.number in numbers]

    def redrive(self, letters: Sequence[Dead]) -> int:
        """Deliver them once more, to the triggers that gave them up, with all their attempts."""
        return self._settle(
            letters, "INSERT OR IGNORE INTO again SELECT trigger, sequence FROM dead WHERE number = ?"
        )

    def drop(self, letters: Sequence[Dead]) -> int:
        """Forget them."""
        return self._settle(letters, None)

    def _settle(self, letters: Sequence[Dead], first: str | None) -> int:
        settled = 0
        with _Transaction(self):
            for one in letters:
                if first:
                    self._db.execute(first, (one.number,))
                settled += self._db.execute("DELETE FROM dead WHERE number = ?", (one.number,)).rowcount
        return settled

    # --- triggers -------------------------------------------------------------------------------------------
    def pause(self, trigger: str) -> bool:
        """Let it rest; says whether it did not already. Raises NoSuch."""
        return self._rest(trigger, rests=True)

    def resume(self, trigger: str) -> bool:
        """Let it go on where it stopped. Raises NoSuch."""
        return self._rest(trigger, rests=False)

    def _rest(self, trigger: str, *, rests: bool) -> bool:
        self._known(trigger)
        changed = self._db.execute(
            "UPDATE cursors SET paused = ? WHERE trigger = ? AND paused <> ?", (rests, trigger, rests)
        )
        return changed.rowcount > 0

    def _known(self, trigger: str) -> int:
        row = self._db.execute("SELECT sequence FROM cursors WHERE trigger = ?", (trigger,)).fetchone()
        if row is None:
            known = ", ".join(sorted(self.log.lag())) or "none yet"
            raise NoSuch(f"there is no trigger {trigger!r}; there are: {known}")
        return int(row[0])

    # --- history --------------------------------------------------------------------------------------------
    def history(
        self, trigger: str, filter: Filter, since: float, until: float | None = None
    ) -> Iterator[Logged]:
        """Events from `since` to `until` (Unix times) that the trigger's filter lets pass and that it is done
        with, oldest first: what a replay would deliver. Raises NoSuch."""
        cursor, end = self._known(trigger), time.time() if until is None else until
        after = self.log.before(since)
        while page := self.log.events(after, _PAGE):
            for one in page:
                if one.sequence > cursor or one.accepted > end:
                    return
                if filter(one.event.attributes):
                    yield one
            after = page[-1].sequence

    def replay(
        self, trigger: str, events: Iterator[Logged], told: Callable[[int], None] = lambda _: None
    ) -> int:
        """Deliver these events to the trigger once more; what is already wanted again is not wanted twice."""
        count = 0
        with _Transaction(self):
            for one in events:
                row = (trigger, one.sequence)
                count += self._db.execute("INSERT OR IGNORE INTO again VALUES (?, ?)", row).rowcount
                told(count)
        return count


class _Transaction:
    """All or nothing."""

    def __init__(self, control: Control) -> None:
        self._db = control._db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")

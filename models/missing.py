"""What becomes of cells that hold no number, in training and in scoring alike: never a look at later rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .features import runs

LONGEST_HELD = 1_000  # rows


@dataclass(frozen=True)
class Missing:
    """`refuse`: such a cell is an error. `drop`: its row takes no part, as if it had never come. `hold:k`:
    the channel's last number stands in for up to k rows, the `limit`; a cell without one for longer is an
    error, but at the start of a segment, where rows take no part until each channel has had a number. NaN
    and infinity are no numbers.
    """

    policy: Literal["refuse", "drop", "hold"]
    limit: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "refuse", "drop" or "hold:3"; ValueError says what is wrong with the text.

        >>> Missing.parse("hold:3")
        Missing(policy='hold', limit=3)
        """
        policy, colon, count = str(text).partition(":")
        if policy in ("refuse", "drop") and not colon:
            return cls(policy)  # type: ignore[arg-type]
        if policy == "hold" and count.isascii() and count.isdigit() and len(count) < 9:
            if not 1 <= int(count) <= LONGEST_HELD:
                raise ValueError(
                    f"missing is {text!r}: hold a value for 1 to {LONGEST_HELD} rows, as in hold:3"
                )
            return cls("hold", int(count))
        raise ValueError(f"missing is {text!r}: choose refuse, drop or, to hold a value for 3 rows, hold:3")

    @property
    def reach(self) -> int:
        """How many rows before its own a filled cell depends on."""
        return self.limit

    def settle(
        self, rows: NDArray[np.float64], segments: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The (n, c) rows with held values in place, and (n,) which rows take part; those are all numbers.

        ValueError names the first cell that the policy has no answer for.
        """
        lacking = ~np.isfinite(rows)
        if not lacking.any():
            return rows, np.ones(len(rows), np.bool_)
        if self.policy == "drop":
            return rows, ~lacking.any(axis=1)
        if self.policy == "refuse":
            mend = "fill or drop such cells first, or choose the missing policy drop or hold"
            raise _unanswered(rows, lacking, mend)
        starts = np.repeat(
            [one.start for one in runs(len(rows), segments)],
            [one.stop - one.start for one in runs(len(rows), segments)],
        )
        place = np.arange(len(rows))
        source = np.maximum.accumulate(np.where(lacking, -1, place[:, None]), axis=0)
        earliest = np.maximum(starts, place - self.limit)
        lost = source < earliest[:, None]
        # Before `limit` rows have come it is not known what the channel's last number was.
        early = place - starts < self.limit
        if (lost & ~early[:, None]).any():
            mend = f"there was no number for {self.limit} rows before; repair the source or hold for longer"
            raise _unanswered(rows, lost & ~early[:, None], mend)
        return np.take_along_axis(rows, np.maximum(source, 0), axis=0), ~lost.any(axis=1)

    def __str__(self) -> str:
        return f"hold:{self.limit}" if self.policy == "hold" else self.policy


def _unanswered(rows: NDArray[np.float64], cells: NDArray[np.bool_], mend: str) -> ValueError:
    row, channel = np.argwhere(cells)[0]
    return ValueError(f"row {row}, channel {channel} is {rows[row, channel]}: {mend}")

"""Sequencers of S3-like stores brought to one form, in which the later one is the greater text."""

from __future__ import annotations

import re

_HEX = re.compile(r"[0-9A-Fa-f]+")
_AWS_WIDTH = 18


def upper(sequencer: str) -> str:
    """AWS's and MinIO's hexadecimal in upper case.

    The same write has `00617F08299329D189` in a notification and `617f08299329d189` through EventBridge. No
    page says so; both start with the seconds since 1970, which in every sample agree with the event's time.
    """
    if not _HEX.fullmatch(sequencer):
        return sequencer
    digits = sequencer.upper()
    return digits[2:] if len(digits) == _AWS_WIDTH and digits.startswith("00") else digits


def by_time(sequencer: str) -> str:
    """Ceph's: its memory of seconds and nanoseconds in hexadecimal, least byte first, which no text order
    can compare (rgw_notify.cc, populate_event). Turned into most significant byte first.

    >>> by_time("F7E6D75DC742D108")
    '5DD7E6F708D142C7'
    """
    if len(sequencer) != 16 or not _HEX.fullmatch(sequencer):
        return sequencer
    raw = bytes.fromhex(sequencer)
    return (raw[3::-1] + raw[7:3:-1]).hex().upper()

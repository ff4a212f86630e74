"""Where a series stands between a stable revision and a canary."""

from __future__ import annotations

from hashlib import blake2b


def place(detector: str, series: str) -> float:
    """Its place in [0, 1): the same in every process, another for every detector. Those below the canary's
    share are the canary's, so that series only move to it as its share grows, never back."""
    digest = blake2b(f"{detector}\0{series}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / (1 << 8 * len(digest))

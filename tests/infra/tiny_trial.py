"""A trial that costs nothing: a bowl whose bottom is at x = 0.3, told step by step.

python -m tests.infra.tiny_trial --x=0.5 --ledger=/tmp/begun
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float, default=0.0)
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--word", default="a")
    parser.add_argument("--ledger", help="where every begin and end is written down")
    parser.add_argument("--name", default="")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=0)
    parser.add_argument("--fail-above", type=float, default=2.0)
    parser.add_argument("--mute", action="store_true")
    parser.add_argument("--json", help="write metrics there, and print none")
    given = parser.parse_args()
    note(given.ledger, f"begun {given.name} {given.x}")
    ballast = bytearray(given.megabytes * 2**20)
    if given.x > given.fail_above:
        sys.exit(f"x is {given.x}")
    for step in range(1, given.steps + 1):
        loss = (given.x - 0.3) ** 2 + 1 / step
        time.sleep(given.seconds / given.steps)
        if given.json:
            with Path(given.json).open("a") as file:
                file.write(json.dumps({"loss": f"{loss:.6f}", "timestamp": time.time()}) + "\n")
        elif not given.mute:
            print(f"epoch {step}: loss={loss:.6f} other = {len(ballast)}", flush=True)
    if secret := os.environ.get("HOMEOSTAT_TEST"):
        print(f"said={secret}")
    note(given.ledger, f"ended {given.name} {given.x}")


def note(ledger: str | None, line: str) -> None:
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(f"{line}\n")


if __name__ == "__main__":
    main()

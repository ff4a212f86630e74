"""`python -m tests.bench NAME [--output json]`: one thing measured against its peer, in the same run."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BENCHES: Mapping[str, str] = {
    "broker": "durable ingest beside bare uvicorn, and delivery to a function in the same process",
    "canary": "canaries of equal and of worse models, judged by ours, fixed thresholds and Flagger's checks",
    "coldstart": "from a function's process to its first answered event, and its memory",
    "drift": "false alarms, delay and cost of drift tests, beside plain alibi-detect",
    "quality": "detectors on SKAB by its leaderboard's protocol, and their spread over seeds",
    "recovery": "stale, the loop and retrain-always, replayed over SKAB's days",
    "scoring": "one window and many, beside scikit-learn's forest and eager torch",
    "serving": "requests over HTTP beside KServe's sklearn server, and beside a constant",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """`peer` is what a user would otherwise take, or None where there is no such thing."""

    ours: float
    peer: float | None
    unit: str

    def document(self) -> dict[str, Any]:
        ratio = self.ours / self.peer if self.peer else None
        return {"ours": self.ours, "peer": self.peer, "ratio": ratio, "unit": self.unit}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", choices=[*BENCHES, "all"])
    parser.add_argument("--output", choices=["text", "json"], default="text")
    chosen = parser.parse_args()
    for name in BENCHES if chosen.name == "all" else [chosen.name]:
        module = importlib.import_module(f"tests.bench.{name}")
        metrics: dict[str, dict[str, Any]] = module.run()
        if chosen.output == "json":
            json.dump({"bench": name, "metrics": metrics}, sys.stdout)
            sys.stdout.write("\n")
        else:
            _table(name, metrics, module.PEER)


def _table(name: str, metrics: Mapping[str, Mapping[str, Any]], peer: str) -> None:
    print(f"{name}: {BENCHES[name]} (peer: {peer})")
    for metric, one in metrics.items():
        against = f"{_figure(one['peer']):>12} {one['ratio']:>7.2f}x" if one["peer"] else ""
        spread = f"  ±{one['spread']:.4f}" if one.get("spread") is not None else ""
        print(f"  {metric:<36}{_figure(one['ours']):>12} {one['unit']:<11}{against}{spread}")


def _figure(value: float) -> str:
    """Three figures or more, whether it is a share or a rate.

    >>> _figure(12345.6), _figure(0.1234), _figure(3.0)
    ('12,346', '0.123', '3.00')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{2 if abs(value) >= 1 else 3}f}"


if __name__ == "__main__":
    main()

"""Which of a detector's registered versions serves and which one is on trial, as MLflow's aliases `champion`
and `challenger`. Said anew as a whole each time, so that what was missed once is mended by the next."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

CHAMPION, CHALLENGER = "champion", "challenger"
LATER = 10
"""Serving has the processor first: nobody waits for an alias."""


def aliases(champion: str | None, challenger: str | None) -> Mapping[str, str | None]:
    """The version of each alias; None where it names none."""
    return {CHAMPION: champion, CHALLENGER: challenger}


def set_aliases(tracking_uri: str, detector: str, wanted: Mapping[str, str | None]) -> None:
    """Raises MlflowException for a model or version that is not registered."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    for alias, version in wanted.items():
        if version:
            client.set_registered_model_alias(detector, alias, version)
        else:
            client.delete_registered_model_alias(detector, alias)


def main() -> None:
    """A process of its own, as MLflow takes seconds to import."""
    parser = argparse.ArgumentParser(description=__doc__.partition(",")[0])
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument(f"--{CHAMPION}")
    parser.add_argument(f"--{CHALLENGER}")
    args = parser.parse_args()
    os.nice(LATER)
    set_aliases(args.tracking_uri, args.detector, aliases(args.champion, args.challenger))


if __name__ == "__main__":
    main()

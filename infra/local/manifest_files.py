"""Which manifests the broker of this machine runs: the loop's own, and those that its user adds."""

from __future__ import annotations

from pathlib import Path

import homeostat.eventing
from homeostat.eventing.broker.filters import Filter
from homeostat.eventing.broker.manifests import read
from homeostat.eventing.errors import Fault, Reject, shown

from .settings import Settings

_FOLDER = Path(homeostat.eventing.__file__).parent
LOOP = (_FOLDER / "broker.yaml", _FOLDER / "triggers.yaml", _FOLDER / "sources" / "canary-tick.yaml")


def manifest_files(settings: Settings) -> list[Path]:
    """The loop's, then the user's: a folder stands for the YAML files in it. Raises Reject for a path that is
    not there."""
    files = list(LOOP)
    for path in settings.manifests:
        if not path.exists():
            mend = "there is no such file or folder; correct HOMEOSTAT_MANIFESTS"
            raise Reject(Fault("manifests", shown(str(path)), mend))
        files += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return files


def filter_of(settings: Settings, trigger: str) -> Filter:
    """What a trigger of this machine lets pass. Raises Reject for one that no manifest names."""
    triggers = {one.name: one for one in read(manifest_files(settings)).triggers}
    if trigger not in triggers:
        mend = f"no manifest names it; there are {', '.join(sorted(triggers))}"
        raise Reject(Fault("--trigger", shown(trigger), mend))
    return triggers[trigger].filter

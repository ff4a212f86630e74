"""Which manifests the broker of this machine runs: the loop's own, and those that its user adds."""

from __future__ import annotations

from pathlib import Path

import homeostat.eventing
from homeostat.eventing.broker.control import NoSuch
from homeostat.eventing.broker.filters import Filter
from homeostat.eventing.broker.manifests import read
from homeostat.eventing.errors import Fault, Reject, shown

from .settings import Settings

_FOLDER = Path(homeostat.eventing.__file__).parent
LOOP = (_FOLDER / "broker.yaml", _FOLDER / "triggers.yaml", _FOLDER / "sources" / "canary-tick.yaml")


def manifest_files(settings: Settings) -> list[Path]:
    """The loop's, then the user's: a folder stands for the YAML files in it. Raises Reject for paths that are
    not there."""
    mend = "there is no such file or folder; correct HOMEOSTAT_MANIFESTS"
    faults = [Fault("manifests", shown(str(path)), mend) for path in settings.manifests if not path.exists()]
    if faults:
        raise Reject(faults)
    return [*LOOP, *(file for path in settings.manifests for file in _files(path))]


def _files(path: Path) -> list[Path]:
    """The file, or a folder's; not what editors and file managers leave there."""
    if not path.is_dir():
        return [path]
    found = [*path.glob("*.yaml"), *path.glob("*.yml")]
    return sorted(one for one in found if one.is_file() and not one.name.startswith("."))


def filter_of(settings: Settings, trigger: str) -> Filter:
    """What a trigger of this machine lets pass. Raises NoSuch for one that no manifest names."""
    triggers = {one.name: one for one in read(manifest_files(settings)).triggers}
    if trigger not in triggers:
        raise NoSuch(f"no manifest names a trigger {trigger!r}; there are: {', '.join(sorted(triggers))}")
    return triggers[trigger].filter

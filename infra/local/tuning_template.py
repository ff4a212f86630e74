"""The command of a trial, out of a trialTemplate: a batch/v1 Job, of which one machine needs little.

Nothing in a manifest is trusted: only `python -m` and a module of Homeostat's own is run, by this interpreter
and never through a shell, and of the environment only Homeostat's variables are taken over. What is
Kubernetes' alone (images, volumes, node selectors) is ignored.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeostat.eventing.errors import Fault, shown

MODULES = ("homeostat.",)
"""What the names of modules begin with that may be run."""
VARIABLES = re.compile(r"HOMEOSTAT_[A-Z0-9_]+")

_PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")
_META = re.compile(r"\$\{trialSpec\.(\w+)(?:\[(.+?)\])?\}")
_PYTHON = re.compile(r"(.*/)?python(3(\.\d+)?)?")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS = {"": 1.0, "m": 1e-3, **{f"{one}i": 1024.0 ** (n + 1) for n, one in enumerate("KMGTP")}} | {
    one: 1000.0 ** (n + 1) for n, one in enumerate("kMGTP")
}
_META_KEYS = ("Name", "Namespace", "Kind", "APIVersion", "Labels", "Annotations")


@dataclass(frozen=True)
class Template:
    """`references` are the trialParameters: placeholder to parameter (or to a trial's own name and the like).
    `memory` is in bytes."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    references: Mapping[str, str]
    job: Mapping[str, Any]
    memory: int | None = None
    seconds: float | None = None

    def filled(
        self, values: Mapping[str, str], name: str, namespace: str, paths: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        """The command and environment of the trial `name`. `paths` are files of the manifest, and where they
        lie here: trials of one machine would write into each other's."""
        known = {key: self._value(what, values, name, namespace) for key, what in self.references.items()}

        def fill(text: str) -> str:
            found = _PLACEHOLDER.sub(lambda match: known[match[1]], text)
            for path, here in paths.items():
                found = found.replace(path, here)
            return found

        command = [sys.executable, *map(fill, self.command[1:])]
        return command, {key: fill(value) for key, value in self.environment.items()}

    def _value(self, reference: str, values: Mapping[str, str], name: str, namespace: str) -> str:
        if not (meta := _META.fullmatch(reference)):
            return values[reference]
        own = self.job.get("metadata") or {}
        found: dict[str, str] = {
            "Name": name,
            "Namespace": namespace,
            "Kind": self.job["kind"],
            "APIVersion": self.job["apiVersion"],
            "Labels": str((own.get("labels") or {}).get(meta[2], "")),
            "Annotations": str((own.get("annotations") or {}).get(meta[2], "")),
        }
        return found[meta[1]]


def template(
    spec: Mapping[str, Any], names: list[str], modules: tuple[str, ...], faults: list[Fault]
) -> Template | None:
    """The trial of an Experiment; what is wrong with it is added to the faults."""
    given = spec.get("trialTemplate") or {}
    job = given.get("trialSpec") or {}
    path = "spec.trialTemplate.trialSpec"
    if (job.get("apiVersion"), job.get("kind")) != ("batch/v1", "Job"):
        mend = "one machine runs a batch/v1 Job that is written here, and no other kind"
        faults.append(Fault(path, shown((job.get("apiVersion"), job.get("kind"))), mend))
        return None
    pod = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    container = _container(pod, given.get("primaryContainerName"), faults)
    if container is None:
        return None
    words = (*map(str, container.get("command") or ()), *map(str, container.get("args") or ()))
    _check_command(words, modules, f"{path} (container {container.get('name')}): command", faults)
    environment = {
        one["name"]: str(one["value"])
        for one in container.get("env") or ()
        if one.get("value") is not None and VARIABLES.fullmatch(one.get("name") or "")
    }
    references = _references(given, names, (*words, *environment.values()), faults)
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    deadline = (job.get("spec") or {}).get("activeDeadlineSeconds") or pod.get("activeDeadlineSeconds")
    return Template(
        words,
        environment,
        references,
        job,
        _bytes(limit, path, faults),
        float(deadline) if deadline else None,
    )


def _container(pod: Mapping[str, Any], name: object, faults: list[Fault]) -> Mapping[str, Any] | None:
    containers = pod.get("containers") or []
    found = [one for one in containers if one.get("name") == name]
    if not found:
        mend = f"name one of the Job's containers: {', '.join(str(one.get('name')) for one in containers)}"
        faults.append(Fault("spec.trialTemplate.primaryContainerName", shown(name), mend))
        return None
    return found[0]  # type: ignore[no-any-return]


def _check_command(words: tuple[str, ...], modules: tuple[str, ...], path: str, faults: list[Fault]) -> None:
    own = len(words) > 2 and _PYTHON.fullmatch(words[0]) and words[1] == "-m"
    if not own or not re.fullmatch(r"\w+(\.\w+)*", words[2]) or not words[2].startswith(modules):
        allowed = " or ".join(f"python -m {one}…" for one in modules)
        faults.append(Fault(path, shown(list(words[:3])), f"one machine runs {allowed} only"))


def _references(
    given: Mapping[str, Any], names: list[str], texts: tuple[str, ...], faults: list[Fault]
) -> dict[str, str]:
    path = "spec.trialTemplate.trialParameters"
    found = {str(one.get("name")): str(one.get("reference")) for one in given.get("trialParameters") or ()}
    for placeholder, reference in found.items():
        meta = _META.fullmatch(reference)
        if reference not in names and not (meta and meta[1] in _META_KEYS):
            mend = f"refer to one of the parameters, {', '.join(names)}"
            faults.append(Fault(f"{path} {placeholder}", shown(reference), mend))
    for missing in sorted({name for text in texts for name in _PLACEHOLDER.findall(text)} - set(found)):
        mend = f"declare it; declared are {', '.join(found) or 'none'}"
        faults.append(Fault(path, f"without {shown(missing)}", mend))
    unused = sorted(set(names) - set(found.values()))
    mend = "refer to every parameter, as Katib demands"
    faults += [Fault(path, f"without {shown(name)}", mend) for name in unused]
    return found


def _bytes(quantity: object, path: str, faults: list[Fault]) -> int | None:
    if quantity is None:
        return None
    match = _QUANTITY.fullmatch(str(quantity))
    if not match:
        mend = "give a quantity such as 2Gi"
        faults.append(Fault(f"{path}: resources.limits.memory", shown(quantity), mend))
        return None
    return int(float(match[1]) * _UNITS[match[2] or ""])

"""The objects of an overlay, as `kubectl kustomize` renders them, with the changes that most installations
make: their own images, their own addresses. Whoever changes more writes an overlay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from homeostat.eventing.errors import Fault, Reject, shown

from .kustomized import Object, build, containers, retag
from .settings import Settings, read

OVERLAYS = Path(__file__).parents[1] / "overlays"
NAMES = ("production", "dev", "minimal")
NAMESPACE = "homeostat"
SETTINGS = "homeostat"
"""The ConfigMap in which functions find where everything is."""

IMAGES = {
    "function": "registry.invalid/homeostat-function",
    "work": "registry.invalid/homeostat-work",
    "postgres": "docker.io/library/postgres",
}
"""What overlays call the images, whose digests are zeros until somebody releases them."""

FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "Role", "RoleBinding", "ConfigMap")
"""Kinds that others need when they come; the rest stays in the overlay's order."""

_IMAGE = re.compile(r"(?P<name>[a-z0-9][-a-z0-9._/:]*/[-a-z0-9._/]+)@(?P<digest>sha256:[0-9a-f]{64})")
_FIXED = {"K_SINK", "K_CA_CERTS", "HOMEOSTAT_HOME", "HOMEOSTAT_NAMESPACE"}
"""Settings that the cluster writes, or that the manifests' own names go with."""

_SETTING = re.compile(r"(?P<key>[A-Z][A-Z0-9_]*)=(?P<value>.*)", re.DOTALL)
_UNRELEASED = re.compile(r"registry\.invalid/|@sha256:0{64}$")


def rendered(
    overlay: str, images: Mapping[str, str | None] | None = None, settings: Sequence[str] = ()
) -> list[Object]:
    """The overlay's objects, in the order in which they are applied. Raises Reject with every fault of the
    changes: `images` by their names in `IMAGES`, `settings` as KEY=VALUE."""
    objects = build(OVERLAYS / overlay)
    faults = [*_with_images(objects, images or {}), *_with_settings(objects, settings)]
    if faults:
        raise Reject(faults)
    return sorted(objects, key=_place)


def unreleased(one: Mapping[str, Any]) -> Iterator[str]:
    """Images of an object that nobody can pull."""
    for container in containers(one):
        image = container.get("image", "")
        if _UNRELEASED.search(image):
            yield image.partition("@")[0]


def text(objects: Sequence[Mapping[str, Any]]) -> str:
    """As `kubectl apply -f -` reads it."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


class _Plain(yaml.SafeDumper):
    """kubectl reads anchors, but people do not."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _place(one: Object) -> int:
    return FIRST.index(one["kind"]) if one["kind"] in FIRST else len(FIRST)


def _with_images(objects: list[Object], images: Mapping[str, str | None]) -> Iterator[Fault]:
    for name, image in images.items():
        if image is None:
            continue
        found = _IMAGE.fullmatch(image)
        if found is None:
            mend = "name a registry and a digest, such as ghcr.io/me/homeostat@sha256: and 64 hex digits"
            yield Fault(f"--image-{name}", shown(image), mend)
        else:
            change = {"name": IMAGES[name], "newName": found["name"], "digest": found["digest"]}
            retag(objects, change)


def _with_settings(objects: list[Object], settings: Sequence[str]) -> Iterator[Fault]:
    data = config_map(objects)["data"]
    for setting in settings:
        found = _SETTING.fullmatch(setting)
        if found is None:
            yield Fault("--set", shown(setting), "write KEY=VALUE, such as HOMEOSTAT_SERVING_MODE=standard")
        elif found["key"] in known_settings():
            data[found["key"]] = found["value"]
        else:
            mend = f"nobody reads it; there are {', '.join(sorted(known_settings()))}"
            yield Fault("--set", shown(found["key"]), mend)
    yield from wrong_settings(data)


def config_map(objects: Sequence[Object]) -> Object:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", SETTINGS))


def known_settings() -> set[str]:
    """What functions read, and what an overlay sets."""
    fields = {str(field.alias) for field in Settings.model_fields.values()}
    return {*fields, *config_map(build(OVERLAYS / "dev"))["data"]} - _FIXED


def wrong_settings(data: Mapping[str, str]) -> Sequence[Fault]:
    """What a function would refuse of the ConfigMap; its sink it has from Knative."""
    try:
        read({"K_SINK": "http://written-by-knative", **data})
    except Reject as rejected:
        return rejected.faults
    return ()

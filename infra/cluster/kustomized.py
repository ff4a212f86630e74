"""kustomize, as far as our overlays use it: what `kubectl kustomize` renders, without kubectl. Every other
feature is refused by name. Where kubectl is installed, a test holds both equal.

https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
KINDS = {"Kustomization": "kustomize.config.k8s.io/v1beta1", "Component": "kustomize.config.k8s.io/v1alpha1"}
FIELDS = {"apiVersion", "kind", "resources", "components", "patches", "images", "configMapGenerator"}


class Unsupported(ValueError):
    """A feature of kustomize that ours does not have, or that kustomize itself refuses."""


def build(folder: Path) -> list[Object]:
    """The objects that a folder with a kustomization.yaml renders."""
    return _build(folder.resolve(), [])


def _build(folder: Path, objects: list[Object]) -> list[Object]:
    asked = _one((folder / "kustomization.yaml").read_text())
    if asked.keys() - FIELDS or asked["apiVersion"] != KINDS.get(asked["kind"]):
        raise Unsupported(f"{folder}: {sorted(asked.keys() - FIELDS) or asked['kind']}")
    for name in asked.get("resources", []):
        objects = [*objects, *_resource(folder, name)]
    objects = [*objects, *(_config_map(folder, one) for one in asked.get("configMapGenerator", []))]
    for name in asked.get("components", []):
        objects = _build((folder / name).resolve(), objects)
    for patch in asked.get("patches", []):
        objects = _patched(objects, folder, patch)
    for image in asked.get("images", []):
        retag(objects, image)
    keys = [_key(one) for one in objects]
    if len(keys) != len(set(keys)):
        raise Unsupported(f"{folder}: the same object twice")
    return objects


def _all(text: str) -> list[Any]:
    # libyaml's, where it is: an overlay is 80 kB in 70 files.
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _one(text: str) -> Any:
    (only,) = _all(text)
    return only


def _resource(folder: Path, name: str) -> list[Object]:
    path = (folder / name).resolve()
    return _build(path, []) if path.is_dir() else _all(_inside(folder, name).read_text())


def _inside(folder: Path, name: str) -> Path:
    """kustomize reads files of its own folder and those below only."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise Unsupported(f"{path} is not in or below {folder}")
    return path


def _config_map(folder: Path, asked: Mapping[str, Any]) -> Object:
    """Of files, under the name that it is given: kustomize's suffix of a hash would be referred to."""
    options = asked.get("options", {})
    strange = {*asked} - {"name", "namespace", "files", "options"}
    strange |= {*options} - {"disableNameSuffixHash", "labels", "annotations"}
    if (
        strange
        or not options.get("disableNameSuffixHash")
        or any("=" in one for one in asked.get("files", []))
    ):
        raise Unsupported(f"{folder}: a ConfigMap of files, with disableNameSuffixHash; {sorted(strange)}")
    described = {field: options[field] for field in ("labels", "annotations") if field in options}
    placed = {field: asked[field] for field in ("name", "namespace") if field in asked}
    data = {Path(name).name: _inside(folder, name).read_text() for name in asked.get("files", [])}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": placed | described, "data": data}


def _key(one: Object) -> tuple[str, str, str, str]:
    metadata = one["metadata"]
    return _group(one), one["kind"], metadata.get("namespace", ""), metadata["name"]


def _group(one: Object) -> str:
    return str(one["apiVersion"]).rpartition("/")[0]


def _patched(objects: list[Object], folder: Path, patch: Mapping[str, Any]) -> list[Object]:
    if patch.keys() - {"path", "patch", "target"}:
        raise Unsupported(f"{folder}: {sorted(patch)}")
    text = patch["patch"] if "patch" in patch else _inside(folder, patch["path"]).read_text()
    documents = _all(text)
    if len(documents) != 1:
        raise Unsupported(f"{folder}: one patch a file; kustomize 5.5 falls over two deletions")
    change = documents[0]
    chosen = _chosen(objects, patch.get("target") or change)
    if not chosen:
        raise Unsupported(f"{folder}: {patch} patches nothing")
    if isinstance(change, dict) and change.get("$patch") == "delete":
        return [one for one in objects if one not in chosen]
    for one in chosen:
        if isinstance(change, list):
            for step in change:
                _step(one, step)
        else:
            _merge(one, {key: value for key, value in change.items() if key not in ("apiVersion", "kind")})
    return objects


def _chosen(objects: list[Object], target: Mapping[str, Any]) -> list[Object]:
    if "metadata" in target:  # the patch itself says whose it is
        return [one for one in objects if _key(one) == _key(dict(target))]
    if target.keys() - {"group", "version", "kind", "name"}:
        raise Unsupported(str(target))

    def fits(one: Object) -> bool:
        found = {
            "group": _group(one),
            "version": str(one["apiVersion"]).rpartition("/")[2],
            "kind": one["kind"],
            "name": one["metadata"]["name"],
        }
        return all(re.fullmatch(pattern, found[field]) for field, pattern in target.items())

    return [one for one in objects if fits(one)]


def _merge(into: Object, change: Mapping[str, Any]) -> None:
    """A merge patch. Lists of objects are merged by kinds' own keys, which ours does not know."""
    for key, value in change.items():
        if isinstance(value, list) or value is None or key.startswith("$"):
            raise Unsupported(f"{key}: {value!r}; write a JSON patch")
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _step(one: Object, step: Mapping[str, Any]) -> None:
    """One operation of RFC 6902."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    place: Any = one
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    at: Any = last
    if isinstance(place, list):
        at = len(place) if last == "-" else int(last)
    _OPERATIONS[step["op"]](place, at, copy.deepcopy(step.get("value")))


def _add(place: Any, at: Any, value: Any) -> None:
    if isinstance(place, list):
        place.insert(at, value)
    else:
        place[at] = value


def _replace(place: Any, at: Any, value: Any) -> None:
    if isinstance(place, dict) and at not in place:
        raise Unsupported(f"replaces {at}, which is not there")
    place[at] = value


def _remove(place: Any, at: Any, _: Any) -> None:
    del place[at]


def _test(place: Any, at: Any, value: Any) -> None:
    if place[at] != value:
        raise Unsupported(f"{at} is {place[at]!r}, not {value!r}")


_OPERATIONS: Mapping[str, Callable[[Any, Any, Any], None]] = {
    "add": _add,
    "replace": _replace,
    "remove": _remove,
    "test": _test,
}


def containers(node: Any) -> Iterator[Object]:
    """Every container anywhere in an object, as kustomize looks for images; CRDs' schemas have none."""
    if isinstance(node, dict):
        if node.get("kind") == "CustomResourceDefinition":
            return
        for key, value in node.items():
            if key in ("containers", "initContainers") and isinstance(value, list):
                yield from value
            else:
                yield from containers(value)
    elif isinstance(node, list):
        for one in node:
            yield from containers(one)


def retag(objects: list[Object], image: Mapping[str, str]) -> None:
    if image.keys() - {"name", "newName", "digest"}:
        raise Unsupported(f"{image}: images are told by their digest")
    for one in objects:
        for container in containers(one):
            name, at, digest = container.get("image", "").partition("@")
            if name == image["name"]:
                digest = image.get("digest", digest)
                container["image"] = image.get("newName", name) + (f"@{digest}" if digest else at)

"""What the overlays render, and how to find one's way in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from homeostat.infra.cluster.kustomized import Object, build

INFRA = Path(__file__).parents[2] / "infra"
OVERLAYS = ("dev", "production", "minimal")
KNATIVE = "serving.knative.dev/v1"


@cache
def base() -> list[Object]:
    return build(INFRA / "base")


@cache
def overlay(name: str) -> list[Object]:
    return build(INFRA / "overlays" / name)


def everything() -> dict[str, list[Object]]:
    return {"base": base(), **{name: overlay(name) for name in OVERLAYS}}


def named(one: Mapping[str, Any]) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def of(objects: list[Object], kind: str, version: str = "") -> dict[str, Object]:
    """Objects of a kind by their names."""
    found = [one for one in objects if one["kind"] == kind and one["apiVersion"].startswith(version)]
    return {one["metadata"]["name"]: one for one in found}


def services(objects: list[Object]) -> dict[str, Object]:
    """Knative's, by name."""
    return of(objects, "Service", KNATIVE)


def container(service: Mapping[str, Any]) -> dict[str, Any]:
    (only,) = service["spec"]["template"]["spec"]["containers"]
    return dict(only)

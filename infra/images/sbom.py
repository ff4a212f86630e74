"""The software bill of materials of the environment that runs this: CycloneDX 1.6 as JSON, on stdout.

    python -I -m homeostat.infra.images.sbom > sbom.cdx.json

It lists the Python packages; the base image brings its own list of Debian's. It names no time and no chance,
so the same packages make the same bill. https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "homeostat"
LICENSE = "License :: OSI Approved :: "


def bill(installed: Iterable[Distribution]) -> dict[str, Any]:
    """Our distribution as the subject, every other one as a component, and who needs whom."""
    packages: dict[str, Distribution] = {canonicalize_name(one.name): one for one in installed}
    described: dict[str, dict[str, Any]] = {name: _component(packages[name]) for name in sorted(packages)}
    refs = {name: component["bom-ref"] for name, component in described.items()}
    subject = {**described.pop(OURS), "type": "application"}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, ' '.join(refs.values()))}",
        "version": 1,
        "metadata": {"component": subject},
        "components": list(described.values()),
        "dependencies": [
            {"ref": ref, "dependsOn": sorted({refs[need] for need in _needs(packages[name]) if need in refs})}
            for name, ref in refs.items()
        ],
    }


def _component(package: Distribution) -> dict[str, Any]:
    name = canonicalize_name(package.name)
    purl = f"pkg:pypi/{name}@{package.version.replace('+', '%2B')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": package.version, "purl": purl}
    licenses = _licenses(package)
    return {**component, "licenses": licenses} if licenses else component


def _licenses(package: Distribution) -> list[dict[str, Any]]:
    """An SPDX expression where there is one (PEP 639), else the classifiers' words. The old `License` field
    often holds a whole text and is left alone."""
    expressions = package.metadata.get_all("License-Expression")
    if expressions:
        return [{"expression": expressions[0]}]
    classifiers = package.metadata.get_all("Classifier") or []
    named = [one.removeprefix(LICENSE) for one in classifiers if one.startswith(LICENSE)]
    return [{"license": {"name": name}} for name in named]


def _needs(package: Distribution) -> Iterable[str]:
    """Extras are not recorded on installing; what is installed and named by one counts as needed."""
    return (canonicalize_name(Requirement(one).name) for one in package.requires or ())


def main() -> None:
    sys.stdout.buffer.write(orjson.dumps(bill(distributions()), option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()

"""Detector manifests: YAML in, name and spec out, with every fault by field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from homeostat.eventing.codec import faults
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.functions.spec import Spec

API_VERSION = "homeostat.dev/v1alpha1"
# RFC 1123 label, short enough that `<name>-<run>` is one as well.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")


def read(path: Path) -> Iterator[tuple[str, Spec]]:
    """Every Detector in the file. Raises Reject naming field, value and mend."""
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one is not None]
    except FileNotFoundError:
        raise Reject(Fault("file", shown(str(path)), "there is no such file")) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mend = f"is no YAML in UTF-8: {' '.join(str(error).split())}"
        raise Reject(Fault("file", shown(str(path)), mend)) from None
    if not documents:
        raise Reject(Fault("file", shown(str(path)), "holds no document; write a Detector into it"))
    for document in documents:
        yield parse(document)


def parse(document: Any) -> tuple[str, Spec]:
    """One Detector. Raises Reject naming field, value and mend."""
    if not isinstance(document, dict) or document.get("kind") != "Detector":
        kind = document.get("kind") if isinstance(document, dict) else document
        raise Reject(Fault("kind", shown(kind), "write kind: Detector"))
    wrong = []
    if document.get("apiVersion") != API_VERSION:
        wrong.append(Fault("apiVersion", shown(document.get("apiVersion")), f"write {API_VERSION}"))
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        mend = "lower-case letters, digits and -, at most 42, such as pump-7"
        wrong.append(Fault("metadata.name", shown(name), mend))
    try:
        spec = Spec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        wrong += faults(error, "spec")
    if wrong:
        raise Reject(wrong)
    return str(name), spec

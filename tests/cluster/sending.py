"""What an administrator sends with kubectl, over HTTP: the same to either API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from tests.cluster.applied import APPLY
from tests.cluster.asked import path_of
from tests.cluster.kinds import by_kind


class Unwelcome(AssertionError):
    """The API server refused; the message is its own."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        self.code = answer.status_code


def said_yes(answer: httpx.Response) -> dict[str, Any]:
    """The answer's document. Raises Unwelcome for a refusal."""
    if not answer.is_success:
        raise Unwelcome(answer)
    return dict(orjson.loads(answer.content or b"{}"))


def apply(http: httpx.Client, *documents: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`kubectl apply --server-side --force-conflicts --validate=strict`. Raises Unwelcome."""
    query = {"fieldManager": "kubectl", "force": "true", "fieldValidation": "Strict"}
    found = []
    for one in documents:
        path = path_of(one, by_kind()[one["apiVersion"], one["kind"]])
        answer = http.patch(path, params=query, content=orjson.dumps(one), headers={"content-type": APPLY})
        found.append(said_yes(answer))
    return found

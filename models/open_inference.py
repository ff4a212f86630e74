"""The Open Inference Protocol over HTTP (KServe's V2), on KServe's data plane.

KServe 0.20's own routes fall short of the protocol's OpenAPI: a request that names the model's version is
answered 501, absent fields are answered as null, and a malformed body may end in 500. These routes stand
before them. https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson
from kserve import InferInput, InferRequest
from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import RequestedOutput
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class OpenInference:
    """The routes of one data plane's models, each of which says its `version` and `platform`."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._plane = data_plane

    def routes(self) -> list[Route]:
        model = "/v2/models/{name}"
        return [
            Route("/v2/", self._server),
            *(
                Route(path + end, endpoint, methods=[method])
                for path in (model, f"{model}/versions/{{version}}")
                for end, endpoint, method in (
                    ("/infer", self._infer, "POST"),
                    ("/ready", self._ready, "GET"),
                    ("", self._model, "GET"),
                )
            ),
        ]

    async def _server(self, request: Request) -> Response:
        return JSONResponse(self._plane.metadata())

    async def _model(self, request: Request) -> Response:
        name, model = self._named(request)
        stated = await self._plane.model_metadata(name)
        return JSONResponse({**stated, "versions": [model.version], "platform": model.platform})

    async def _ready(self, request: Request) -> Response:
        name, _ = self._named(request)
        if not await self._plane.model_ready(name):
            raise ModelNotReady(name)
        return JSONResponse({"name": name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        name, _ = self._named(request)
        if not await self._plane.model_ready(name, True):
            raise ModelNotReady(name)
        headers = dict(request.headers)
        asked = infer_request(name, await request.body(), headers.get(INFERENCE_CONTENT_LENGTH_HEADER))
        answer, _ = await self._plane.infer(name, asked, headers)
        body, more = self._plane.encode(name, answer, {}, {})
        if isinstance(body, bytes):
            return Response(body, headers=more, media_type="application/octet-stream")
        return Response(orjson.dumps(body), media_type="application/json")

    def _named(self, request: Request) -> tuple[str, Any]:
        name, version = request.path_params["name"], request.path_params.get("version")
        model = self._plane.get_model_from_registry(name)  # raises ModelNotFound
        if version not in (None, model.version):
            raise ModelNotFound(f"{name}, version {version}")
        return name, model


def infer_request(name: str, body: bytes, json_length: str | None) -> InferRequest:
    """The body of an inference request: JSON of `json_length` bytes, or all of it, and then the binary
    extension's data. Raises InvalidInput, which names field and value."""
    if not (json_length is None or (json_length.isdecimal() and int(json_length) <= len(body))):
        raise InvalidInput(
            f"{INFERENCE_CONTENT_LENGTH_HEADER} is {json_length[:20]!r} for a body of {len(body)} bytes: give"
            " the number of bytes of its JSON"
        )
    head, binary = (
        (body, b"") if json_length is None else (body[: int(json_length)], body[int(json_length) :])
    )
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body is no JSON ({error}): send an inference request") from None
    document = _typed("body", document, dict, "an object")
    inputs = []
    for index, one in enumerate(_typed("inputs", document.get("inputs"), list, "an array of tensors")):
        tensor = _tensor(f"inputs[{index}]", one)
        if tensor.data is None:
            size = (tensor.parameters or {}).get("binary_data_size")
            if not (isinstance(size, int) and 0 <= size <= len(binary)):
                raise InvalidInput(
                    f"inputs[{index}].data is missing, and binary_data_size is {_brief(size)} where"
                    f" {len(binary)} bytes follow the JSON: send the numbers"
                )
            tensor._raw_data, binary = binary[:size], binary[size:]
        inputs.append(tensor)
    return InferRequest(
        model_name=name,
        infer_inputs=inputs,
        request_id=_optional("id", document, str, "a string"),
        parameters=_optional("parameters", document, dict, "an object"),
        request_outputs=_outputs(document),
    )


def _tensor(field: str, one: Any) -> InferInput:
    _typed(field, one, dict, "an object")
    shape = _typed(f"{field}.shape", one.get("shape"), list, "an array of whole numbers")
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool):
            raise InvalidInput(f"{field}.shape holds {_brief(size)}: give whole numbers")
    return InferInput(
        _typed(f"{field}.name", one.get("name"), str, "a string"),
        shape,
        _typed(f"{field}.datatype", one.get("datatype"), str, "a string"),
        _optional("data", one, list, "an array", f"{field}."),
        _optional("parameters", one, dict, "an object", f"{field}."),
    )


def _outputs(document: Mapping[str, Any]) -> list[RequestedOutput] | None:
    """The outputs that are asked for; None for all of them."""
    asked = _optional("outputs", document, list, "an array of objects")
    outputs = []
    for index, one in enumerate(asked or ()):
        field = f"outputs[{index}]"
        _typed(field, one, dict, "an object")
        name = _typed(f"{field}.name", one.get("name"), str, "a string")
        outputs.append(RequestedOutput(name, _optional("parameters", one, dict, "an object", f"{field}.")))
    return outputs or None


def _optional(key: str, within: Mapping[str, Any], kind: type, mend: str, place: str = "") -> Any:
    value = within.get(key)
    return None if value is None else _typed(place + key, value, kind, mend)


def _typed(field: str, value: object, kind: type, mend: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidInput(f"{field} is {_brief(value)}: give {mend}")
    return cast("Any", value)


def _brief(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"

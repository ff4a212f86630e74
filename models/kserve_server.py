"""KServe's model server, bound where it is told to, and mended where its protocols are not kept."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from grpc import StatusCode, aio
from kserve import ModelServer
from kserve.errors import InferenceError, ModelNotReady, ServerNotLive, ServerNotReady
from kserve.model_server import app, args
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .open_inference import OpenInference
from .request_counting import Answered, Counted, CountedCalls


class Server(ModelServer):  # type: ignore[misc]
    """KServe's server on a given host, or on a socket that the parent process has bound for it.

    KServe binds 0.0.0.0 and [::] whatever it is told; gRPC here listens on `host`, as HTTP does. KServe's
    timing middleware measures each request for a log that is turned off, and is left out, as are FastAPI's
    parsing of arguments and validation of answers. `answered` hears of every inference request.
    """

    def __init__(
        self, host: str, fd: int | None, answered: Answered, *, enable_grpc: bool, **options: Any
    ) -> None:
        super().__init__(enable_grpc=False, **options)  # its own gRPC server, which `_serve` replaces
        self._host, self._fd, self._grpc, self.answered = host, fd, enable_grpc, answered

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        self._rest_server.config.fd = self._fd
        self._rest_server.config.app = Counted(app, self.answered)
        if self._fd is not None:
            answer_at_once(self._fd)
        self._rest_server._add_middlewares = lambda _: None
        # Before KServe's own, which it registers when it starts.
        app.router.routes[:0] = [*_v1(self), *OpenInference(self.dataplane).routes()]
        app.add_exception_handler(ValueError, _malformed)
        if self._grpc:
            self._grpc_server = LocalGRPCServer(self._host, self)
            self.servers.append(self._grpc_server.start(self.max_threads))
        await super()._serve()


def answer_at_once(fd: int) -> None:
    """Turn Nagle's algorithm off for every connection that a listening socket will accept: they inherit it.

    uvicorn takes a socket that is handed over for a Unix one, and leaves it on: an answer of two writes then
    waits for the client's delayed acknowledgement, 40 ms each time.
    """
    with socket.socket(fileno=os.dup(fd)) as bound:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _v1(server: ModelServer) -> list[Route]:
    """KServe's endpoint, and a shorter way for plain JSON, which is nearly every request."""
    plane = server.dataplane
    endpoints = V1Endpoints(plane, server.model_repository_extension)

    async def predict(request: Request) -> Response:
        name, headers = request.path_params["name"], dict(request.headers)
        if headers.get("content-type") != "application/json" or "ce-id" in headers:  # perhaps a CloudEvent
            return await endpoints.predict(name, request)  # type: ignore[no-any-return]
        if not await plane.model_ready(name, True):
            raise ModelNotReady(name)
        answer, _ = await plane.infer(name, await request.body(), headers)
        return Response(orjson.dumps(answer), media_type="application/json")

    return [Route("/v1/models/{name}:predict", predict, methods=["POST"])]


async def _malformed(_: object, error: Exception) -> JSONResponse:
    """KServe lets some of its decoding's errors through as 500."""
    return JSONResponse({"error": f"body is malformed: {error}"}, 400)


class LocalGRPCServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server on one host's port only."""

    def __init__(self, host: str, server: Server) -> None:
        super().__init__(
            server.grpc_port,
            server.dataplane,
            server.model_repository_extension,
            kwargs=vars(args),
            grace_period=server.grace_period,
        )
        self._host, self._answered = host, server.answered

    async def start(self, max_workers: int) -> None:
        self._server = aio.server(
            ThreadPoolExecutor(max_workers),
            interceptors=(CountedCalls(self._answered), Refusals()),
            options=[
                (f"grpc.max_{way}_message_length", self._kwargs[f"grpc_max_{way}_message_length"])
                for way in ("send", "receive")
            ],
        )
        add_GRPCInferenceServiceServicer_to_server(
            InferenceServicer(self._data_plane, self._model_repository_extension), self._server
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._server.add_insecure_port(f"{host}:{self._port}")  # RuntimeError when it cannot be bound
        await self._server.start()
        await self._server.wait_for_termination()


class Refusals(ExceptionToStatusInterceptor):  # type: ignore[misc]
    """KServe's statuses, but for those that it gets wrong: its own `reason` is missing from two of them, a
    fault of ours is no INVALID_ARGUMENT, and a request that cannot be decoded is one."""

    async def handle_exception(
        self, ex: Exception, request_or_iterator: Any, context: aio.ServicerContext, method_name: str
    ) -> None:
        if isinstance(ex, InferenceError):
            await context.abort(StatusCode.INTERNAL, str(ex))
        if isinstance(ex, ModelNotReady | ServerNotReady | ServerNotLive):
            await context.abort(StatusCode.UNAVAILABLE, str(ex))
        if isinstance(ex, ValueError | TypeError | IndexError | KeyError):
            await context.abort(StatusCode.INVALID_ARGUMENT, str(ex))
        await super().handle_exception(ex, request_or_iterator, context, method_name)

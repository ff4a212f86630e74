"""One artifact behind KServe's V1 and V2 protocols: a process of `kserve.ModelServer`.

    python -m homeostat.models.predictor --model_name pump --model_dir artifacts/pump-abc \\
        --http_port 8080 --revision pump-abc

All of KServe's own options hold. gRPC is off unless `--enable_grpc true`. An artifact that cannot be trusted
ends the process with exit status 65 and one line that says why. Neither torch nor scikit-learn is loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InferenceError, InvalidInput
from kserve.logging import configure_logging
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from starlette.responses import JSONResponse

from . import artifact, protocol
from .fitted import Fitted
from .predictor_metrics import Metrics

EX_DATAERR = 65
"""sysexits.h: the input was wrong. The same artifact would be refused again, so do not start it again."""

PARENT_PID = "HOMEOSTAT_PARENT_PID"
INLINE_ROWS = 500
"""Requests of more rows are scored in a thread, so that probes and other requests do not wait for them."""

_PR_SET_PDEATHSIG = 1


class Predictor(Model):  # type: ignore[misc]
    """Scores rows; ready once it has scored a first window, so that no request pays for compilation."""

    def __init__(self, name: str, folder: Path, revision: str) -> None:
        super().__init__(name)
        self.folder, self.revision = folder, revision
        self.fitted: Fitted
        self.version: str

    def load(self) -> bool:
        """Read, check and warm up. Raises ArtifactError."""
        self.fitted = artifact.load(self.folder)
        stated = artifact.manifest(self.folder)
        self.version = str(stated.provenance.get("version") or stated.files[artifact.WEIGHTS].sha256[:12])
        self.metrics = Metrics(REGISTRY, self.revision, stated.algorithm, self.version)
        usual = np.tile(self.fitted.scaler.center, (2, 1))
        scores(self.fitted, usual)
        scores(self.fitted, usual[None])
        self.ready = True
        return self.ready

    async def predict(
        self, payload: dict[str, Any] | bytes | InferRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        begun = perf_counter()
        try:
            values = self._values(payload)
        except protocol.InputError as error:
            self.metrics.rejected()
            raise InvalidInput(str(error)) from None
        found = await self._score(values)
        flags = self.fitted.anomalies(found)
        self.metrics.scored(found, flags, self.fitted.threshold, perf_counter() - begun)
        if isinstance(payload, InferRequest):
            return self._v2(payload.id, found, flags)
        return {
            "predictions": [
                {"score": score, "anomaly": flag}
                for score, flag in zip(found.tolist(), flags.tolist(), strict=True)
            ],
            "threshold": self.fitted.threshold,
            "revision": self.revision,
            "model_version": self.version,
        }

    async def _score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            if values.size > INLINE_ROWS * len(self.fitted.channels):
                return await asyncio.to_thread(scores, self.fitted, values)
            return scores(self.fitted, values)
        except ValueError as error:  # the input was checked, so this fault is the revision's own
            raise InferenceError(f"{self.revision} could not score: {error}") from error

    def validate(self, payload: Any) -> Any:
        """KServe's check says less than `protocol`, which sees every payload next."""
        return payload

    def _values(self, payload: object) -> NDArray[np.float64]:
        channels = self.fitted.channels
        if isinstance(payload, InferRequest):
            if len(payload.inputs) != 1:
                raise protocol.InputError("inputs", f"{len(payload.inputs)} tensors, not one", channels)
            one = payload.inputs[0]
            data = one.data
            if data is None:  # the binary extension, or gRPC's raw contents
                try:
                    data = one.as_numpy()
                except (ValueError, TypeError, InvalidInput) as error:
                    raise protocol.InputError(f"inputs.{one.name}", str(error), channels) from None
            return protocol.tensor(one.name, one.shape, one.datatype, data, channels)
        if isinstance(payload, bytes):
            # KServe parses a V1 body only when its content type is exactly application/json.
            try:
                payload = orjson.loads(payload)
            except orjson.JSONDecodeError as error:
                raise protocol.InputError("body", f"no JSON ({error})", channels) from None
        return protocol.instances(payload, channels)

    def _v2(self, id: str | None, found: NDArray[np.float64], flags: NDArray[np.bool_]) -> InferResponse:
        shape = [len(found)]
        return InferResponse(
            response_id=id or "",
            model_name=self.name,
            model_version=self.version,
            infer_outputs=[
                InferOutput("score", shape, "FP64", data=found.tolist()),
                InferOutput("anomaly", shape, "BOOL", data=flags.tolist()),
            ],
            parameters={"threshold": self.fitted.threshold, "revision": self.revision},
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "rows", "datatype": "FP64", "shape": [-1, len(self.fitted.channels)]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "anomaly", "datatype": "BOOL", "shape": [-1]},
        ]


def scores(fitted: Fitted, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) scores of (n, c) consecutive rows, or of (n, w, c) windows: of each window's last row."""
    if values.ndim == 2:
        return fitted.score(values)
    n, given, c = values.shape
    wanted = fitted.window
    # As Fitted.score: what lies before the first row is taken to have been like it.
    before = np.repeat(values[:, :1], max(0, wanted - given), axis=1)
    whole = np.concatenate([before, values[:, max(0, given - wanted) :]], axis=1)
    return fitted.algorithm.score(fitted.scaler.transform(whole.reshape(-1, c)).reshape(n, wanted, c))


class Server(ModelServer):  # type: ignore[misc]
    """KServe's server on a given host, or on a socket that the parent process has bound for it."""

    def __init__(self, host: str, fd: int | None, **options: Any) -> None:
        super().__init__(**options)
        self._host, self._fd = host, fd

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        self._rest_server.config.fd = self._fd
        app.add_exception_handler(ValueError, _malformed)
        await super()._serve()


async def _malformed(_: object, error: Exception) -> JSONResponse:
    """KServe's decoding of V2's binary extension lets these through as 500."""
    return JSONResponse({"error": f"body is malformed: {error}"}, 400)


def die_with_parent() -> None:
    """End when the process named in HOMEOSTAT_PARENT_PID ends, however it ends (prctl(2), Linux)."""
    parent = os.environ.get(PARENT_PID)
    if parent and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            os._exit(1)  # it ended before we asked


def _logging() -> None:
    """KServe's own configuration, less a line per request and a traceback per client's mistake."""
    configure_logging()
    for per_request in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(per_request).setLevel(logging.WARNING)
    logging.getLogger("kserve").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], InvalidInput))
    )


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser(parents=[kserve_parser], description=__doc__.partition("\n")[0])
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"), help="the artifact's folder")
    parser.add_argument("--revision", default=os.environ.get("K_REVISION", ""), help="name of this revision")
    parser.add_argument("--host", default="0.0.0.0", help="as KServe's own; 127.0.0.1 on one machine")  # noqa: S104
    parser.add_argument("--fd", type=int, help="a bound socket to serve on, instead of host and http_port")
    parser.set_defaults(enable_grpc=False, enable_latency_logging=False)
    args = parser.parse_args()
    _logging()
    model = Predictor(args.model_name, args.model_dir, args.revision or args.model_dir.name)
    try:
        model.load()
    except artifact.ArtifactError as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(EX_DATAERR)
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.set_event_loop(asyncio.new_event_loop())  # KServe asks for one before it runs its own
    Server(
        args.host,
        args.fd,
        http_port=args.http_port,
        grpc_port=args.grpc_port,
        workers=1,
        enable_grpc=args.enable_grpc,
        enable_latency_logging=args.enable_latency_logging,
        grace_period=10,
    ).start([model])


if __name__ == "__main__":
    main()

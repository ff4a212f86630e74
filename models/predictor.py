"""One artifact behind KServe's V1 and V2 protocols: a process of `kserve.ModelServer`.

    python -m homeostat.models.predictor --model_name pump --model_dir artifacts/pump-abc \\
        --http_port 8080 --revision pump-abc

All of KServe's own options hold. The revision's name, a label of every metric, is that of `--revision`, or of
HOMEOSTAT_REVISION, which an InferenceService sets in a cluster. gRPC is off unless `--enable_grpc true`, and
listens where `--host` says. An artifact that cannot be trusted ends the process with exit status 65 and one
line that says why. Neither torch nor scikit-learn is loaded.

A request that names its series needs its new rows only (`scoring_request`): the last ones of each series are
kept in this process (`series`, which says for how long, and what to mind with several replicas).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from kserve import InferRequest, InferResponse, Model
from kserve.errors import InferenceError, InvalidInput, ModelNotFound
from kserve.logging import configure_logging
from kserve.metrics import PREDICT_HIST_TIME, get_labels
from kserve.model import InferenceVerb
from kserve.model_server import parser as kserve_parser
from prometheus_client import REGISTRY, CollectorRegistry

from . import artifact
from .algorithm import Scores
from .fitted import Fitted
from .kserve_server import Server
from .micro_batching import Batcher, Stretches, judge_together, of_rows, of_windows, segments_of
from .predictor_metrics import Metrics
from .scoring_answer import Answer, v1, v2
from .scoring_request import ScoringRequest, read
from .series import Tails

EX_DATAERR = 65
"""sysexits.h: the input was wrong. The same artifact would be refused again, so do not start it again."""

PARENT_PID = "HOMEOSTAT_PARENT_PID"
REVISION = "HOMEOSTAT_REVISION"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,126}[a-z0-9])?")
"""The names of revisions, in both homes."""
Payload: TypeAlias = dict[str, Any] | bytes | InferRequest

_PR_SET_PDEATHSIG = 1


class Predictor(Model):  # type: ignore[misc]
    """Scores rows; ready once it has scored a first window, so that no request pays for compilation."""

    def __init__(
        self, name: str, folder: Path, revision: str, registry: CollectorRegistry = REGISTRY
    ) -> None:
        super().__init__(name)
        self.folder, self.revision, self._registry = folder, revision, registry
        self.fitted: Fitted
        self.version: str
        self.platform: str

    def load(self) -> bool:
        """Read, check and warm up. Raises ArtifactError."""
        self.fitted = artifact.load(self.folder)
        stated = artifact.manifest(self.folder)
        self.version = str(stated.provenance.get("version") or stated.files[artifact.WEIGHTS].sha256[:12])
        self.platform = f"homeostat_{stated.algorithm}"
        self.metrics = Metrics(self._registry, self.revision, stated.algorithm, self.version)
        self._kserve_seconds = PREDICT_HIST_TIME.labels(**get_labels(self.name))
        self._gaps = self.fitted.preparation.missing.policy != "refuse"
        self._tails = Tails(self.fitted.tail, keep=self.fitted.keep)
        self._batcher = Batcher(partial(judge_together, self.fitted))
        _warm_up(self.fitted)
        self.ready = True
        return self.ready

    async def __call__(
        self,
        body: Payload,
        headers: dict[str, str] | None = None,
        verb: InferenceVerb = InferenceVerb.PREDICT,
    ) -> tuple[dict[str, Any] | InferResponse, dict[str, str]]:
        """KServe's steps before and after prediction are left out, and its own metric of it is kept."""
        begun = perf_counter()
        answer = await self.predict(body, headers, verb is InferenceVerb.EXPLAIN)
        self._kserve_seconds.observe(perf_counter() - begun)
        return answer, {}

    async def predict(
        self, payload: Payload, headers: dict[str, str] | None = None, explain: bool = False
    ) -> dict[str, Any] | InferResponse:
        """V1's or V2's answer to its request; with each channel's share where either says `explain`.
        Raises InvalidInput that names field, value and the mend."""
        begun = perf_counter()
        if isinstance(payload, InferRequest) and payload.model_version not in (None, "", self.version):
            raise ModelNotFound(f"{self.name}, version {payload.model_version}")  # gRPC's field
        try:
            request = read(payload, headers or {}, self.fitted.channels, self._gaps)
        except ValueError as error:
            self.metrics.rejected()
            raise InvalidInput(str(error)) from None
        answer = await self._answer(request, explain or request.explain)
        self.metrics.scored(answer.scores, answer.anomalies, self.fitted.threshold, perf_counter() - begun)
        options = {"threshold": self.fitted.threshold, "revision": self.revision}
        if request.series is not None:
            options |= {"series": request.series}
        if request.series is not None or request.past is not None:
            # Who keeps the rows too can tell whether all that matter went before the new ones.
            options |= {"past": answer.past, "tail": self._tails.tail}
        if isinstance(payload, InferRequest):
            return v2(self.name, self.version, payload, answer, options)
        return v1(answer, self.fitted.channels) | options | {"model_version": self.version}

    async def _answer(self, request: ScoringRequest, explain: bool) -> Answer:
        values = request.values
        if request.series is not None:
            values = self._tails.extend(request.series, values, request.reset)
        elif request.past is not None:
            values = np.concatenate([request.past, values])
        past = min(len(values) - len(request.values), self._tails.tail)
        asked = of_rows(values, len(request.values)) if values.ndim == 2 else of_windows(values)
        try:
            scores, anomalies = await self._batcher.judge(asked)
            shares = await asyncio.to_thread(self._shares, asked) if explain else None
        except Exception as error:
            if request.series is not None:
                self._tails.forget(request.series)  # or its next rows would fail with these before them
            if self._gaps and isinstance(error, ValueError):  # a gap longer than this detector bridges
                self.metrics.rejected()
                raise InvalidInput(f"{error}; its series, if it had one, starts anew") from None
            # Otherwise the input was checked, so this fault is the revision's own.
            raise InferenceError(f"{self.revision} could not score: {error}") from error
        return Answer(scores, anomalies, past, shares)

    def _shares(self, asked: Stretches) -> Scores:
        return self.fitted.contributions(asked.rows, segments_of(asked.lengths), asked.wanted)

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "rows", "datatype": "FP64", "shape": [-1, len(self.fitted.channels)]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "anomaly", "datatype": "BOOL", "shape": [-1]},
        ]


def _warm_up(fitted: Fitted) -> None:
    """Judge rows and a window as requests do, which compiles and loads whatever that needs."""
    usual = np.tile(fitted.reference[-1].astype(np.float64), (fitted.window + 1, 1))
    for batch in ([of_rows(usual, 1)], [of_rows(usual, 1), of_windows(usual[None])]):
        judge_together(fitted, batch)


def die_with_parent() -> None:
    """End when the process named in HOMEOSTAT_PARENT_PID ends, however it ends (prctl(2), Linux)."""
    parent = os.environ.get(PARENT_PID)
    if parent and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            os._exit(1)  # it ended before we asked


def named(revision: str | None) -> str:
    """The revision's name, as it was said or the environment has it; empty where nobody named it. Raises
    ArgumentTypeError: under another name its figures would be missing, or be another one's."""
    place, name = ("--revision", revision) if revision else (REVISION, os.environ.get(REVISION, ""))
    if name and not _NAME.fullmatch(name):
        mend = "name it by at most 128 of a-z, 0-9, - and ., beginning and ending with a letter or digit"
        raise argparse.ArgumentTypeError(f"{place} is {name[:140]!r}: {mend}")
    return name


def _logging() -> None:
    """KServe's own configuration, less a line per request and a traceback per client's mistake."""
    configure_logging()
    for per_request in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(per_request).setLevel(logging.WARNING)
    logging.getLogger("kserve").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], InvalidInput | ModelNotFound))
    )


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser(parents=[kserve_parser], description=__doc__.partition("\n")[0])
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"), help="the artifact's folder")
    parser.add_argument("--revision", help=f"name of this revision; {REVISION} where it is not given")
    parser.add_argument("--host", default="0.0.0.0", help="as KServe's own; 127.0.0.1 on one machine")  # noqa: S104
    parser.add_argument("--fd", type=int, help="a bound socket to serve on, instead of host and http_port")
    parser.set_defaults(enable_grpc=False, enable_latency_logging=False)
    args = parser.parse_args()
    try:
        revision = named(args.revision)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    _logging()
    model = Predictor(
        args.model_name, args.model_dir, revision or os.environ.get("K_REVISION") or args.model_dir.name
    )
    try:
        model.load()
    except artifact.ArtifactError as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(EX_DATAERR)
    import uvloop

    # What is loaded by now stays: a full collection over it would hold every request up for 0.1 s and more.
    gc.collect()
    gc.freeze()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.set_event_loop(asyncio.new_event_loop())  # KServe asks for one before it runs its own
    Server(
        args.host,
        args.fd,
        model.metrics.answered,
        http_port=args.http_port,
        grpc_port=args.grpc_port,
        workers=1,
        enable_grpc=args.enable_grpc,
        enable_latency_logging=args.enable_latency_logging,
        grace_period=10,
    ).start([model])


if __name__ == "__main__":
    main()

"""What the predictor found, in the words of KServe's V1 and V2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse
from numpy.typing import NDArray

from .algorithm import Scores


@dataclass(frozen=True, slots=True)
class Answer:
    """`scores` and `anomalies` are (n,); `past` is how many kept rows of the series went before the new
    ones; `shares` is (n, c), or None where nobody asked."""

    scores: Scores
    anomalies: NDArray[np.bool_]
    past: int
    shares: Scores | None


def v1(answer: Answer, channels: Sequence[str]) -> dict[str, Any]:
    """`{"predictions": [{"score": 0.71, "anomaly": true}, …]}`."""
    predictions: list[dict[str, Any]] = [
        {"score": score, "anomaly": flag}
        for score, flag in zip(answer.scores.tolist(), answer.anomalies.tolist(), strict=True)
    ]
    if answer.shares is not None:
        for one, row in zip(predictions, answer.shares.tolist(), strict=True):
            one["contributions"] = dict(zip(channels, row, strict=True))
    return {"predictions": predictions}


def v2(
    name: str, version: str, request: InferRequest, answer: Answer, parameters: Mapping[str, Any]
) -> InferResponse:
    """Outputs `score` and `anomaly`, and `contributions` where they were asked for."""
    n = len(answer.scores)
    outputs = [
        InferOutput("score", [n], "FP64", data=answer.scores.tolist()),
        InferOutput("anomaly", [n], "BOOL", data=answer.anomalies.tolist()),
    ]
    if answer.shares is not None:
        shape = list(answer.shares.shape)
        outputs.append(InferOutput("contributions", shape, "FP64", data=answer.shares.ravel().tolist()))
    return InferResponse(
        response_id=request.id or "",
        model_name=name,
        model_version=version,
        infer_outputs=outputs,
        # gRPC's parameters know no real numbers.
        parameters={
            key: repr(value) if request.from_grpc and isinstance(value, float) else value
            for key, value in parameters.items()
        },
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )

"""KServe's own server with what a user would otherwise put behind it.

    python -m tests.bench.kserve_peers sklearn FOREST.joblib PORT
    python -m tests.bench.kserve_peers constant '{"predictions": […]}' PORT

KServe's sklearn server is not on PyPI: `SKLearn` does what its `python/sklearnserver/sklearnserver/model.py`
does, less the download and the probabilities. Logs are as quiet as our own predictor's: an access line and
a latency line per request would only slow the peers down.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import joblib
from kserve import InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InferenceError
from kserve.logging import configure_logging
from kserve.utils.utils import get_predict_input, get_predict_response


class SKLearn(Model):
    """Predicts with a pickled estimator, one request at a time, on the event loop."""

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        self._model = joblib.load(file)
        self.ready = True

    def predict(
        self, payload: dict[str, Any] | InferRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        try:
            instances = get_predict_input(payload)
            return get_predict_response(payload, self._model.predict(instances), self.name)
        except Exception as error:
            raise InferenceError(str(error)) from error


class Constant(Model):
    """What KServe's server costs by itself."""

    def __init__(self, name: str, answer: dict[str, Any]) -> None:
        super().__init__(name)
        self._answer = answer
        self.ready = True

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
        return self._answer


def main(kind: str, what: str, port: int) -> None:
    configure_logging()
    for per_request in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(per_request).setLevel(logging.WARNING)
    model = SKLearn("pump", Path(what)) if kind == "sklearn" else Constant("pump", json.loads(what))
    ModelServer(http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False).start([model])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""The training pipeline: ingest, validate, features, fit and evaluate each candidate, compare the best
with the champion, register, announce.

Two shapes of the same components. On a cluster the candidates are a parameter (ParallelFor), and an exit
handler announces a failure. kfp.local cannot run a step after a loop, nor an exit handler (kfp 2.16,
`kfp/local/orchestrator`), so one machine runs the same steps with the loop unrolled, and its engine announces
what failed. Nothing is cached: a retrain on new data under the same names must never be a no-op.
"""

from collections.abc import Sequence
from typing import Any, List  # noqa: UP035 - KFP reads typing's List

from kfp import dsl
from kfp.dsl import base_component

from .components.announce import announce_completed, announce_failed
from .components.compare import compare
from .components.evaluate import evaluate
from .components.features import features
from .components.fit import fit
from .components.ingest import ingest
from .components.register import register
from .components.validate import validate

NAME = "homeostat-training"


class _Prepared:
    """The steps that both shapes share, as tasks of the pipeline that is being defined."""

    def __init__(
        self,
        run: Any,
        detector: Any,
        spec: Any,
        data: Any,
        parameters: Any,
        champion: Any,
        models_root: Any,
        seed: Any,
    ) -> None:
        self._names = {"run": run, "detector": detector, "spec": spec, "seed": seed}
        self._models = {"parameters": parameters, "models_root": models_root}
        self._champion = champion
        self._ingest = _fresh(ingest(data=data, spec=spec))
        rows = self._ingest.outputs["rows"]
        self._validate = _fresh(validate(spec=spec, champion=champion, rows=rows))
        screened = self._validate.outputs["screened"]
        self._features = _fresh(features(spec=spec, seed=seed, screened=screened))

    def candidate(self, algorithm: Any) -> Any:
        """Fit and evaluate one candidate; its output is the evaluation."""
        fitted = _fresh(
            fit(
                algorithm=algorithm,
                fingerprint=self._ingest.outputs["Output"],
                training=self._features.outputs["training"],
                **self._names,
                **self._models,
            )
        )
        evaluation = _fresh(
            evaluate(
                spec=self._names["spec"],
                held_back=self._features.outputs["held_back"],
                model=fitted.outputs["model"],
            )
        )
        return evaluation.outputs["Output"]

    def finish(self, evaluations: Any, cause: Any, tracking_uri: Any, sink: Any) -> None:
        names = {name: self._names[name] for name in ("run", "detector")}
        judged = _fresh(
            compare(
                spec=self._names["spec"],
                champion=self._champion,
                training=self._features.outputs["training"],
                held_back=self._features.outputs["held_back"],
                evaluations=evaluations,
                **names,
            )
        )
        registered = _fresh(
            register(
                cause=cause,
                tracking_uri=tracking_uri,
                fingerprint=self._ingest.outputs["Output"],
                rows=self._validate.outputs["Output"],
                seed=self._names["seed"],
                judged=judged.outputs["Output"],
                **names,
            )
        )
        _fresh(
            announce_completed(
                detector=self._names["detector"], cause=cause, sink=sink, completed=registered.output
            )
        )


def _fresh(task: Any) -> Any:
    return task.set_caching_options(False)


@dsl.pipeline(name=NAME, description="Train, judge and register one Detector's candidates.")
def training(
    run: str,
    detector: str,
    spec: str,
    data: List[str],  # noqa: UP006
    candidates: List[str],  # noqa: UP006
    parameters: str,
    champion: str,
    models_root: str,
    tracking_uri: str,
    sink: str,
    cause: str,
    seed: int = 0,
) -> None:
    """For clusters. `spec`, `parameters` and `cause` are JSON."""
    failed = announce_failed(run=run, detector=detector, cause=cause, sink=sink)
    failed.set_caching_options(False)
    with dsl.ExitHandler(failed):
        prepared = _Prepared(run, detector, spec, data, parameters, champion, models_root, seed)
        with dsl.ParallelFor(candidates) as algorithm:
            evaluation = prepared.candidate(algorithm)
        prepared.finish(dsl.Collected(evaluation), cause, tracking_uri, sink)


def unrolled(candidates: Sequence[str]) -> base_component.BaseComponent:
    """The same steps for these candidates, as kfp.local can run them."""

    @dsl.pipeline(name=NAME)
    def steps(
        run: str,
        detector: str,
        spec: str,
        data: List[str],  # noqa: UP006
        parameters: str,
        champion: str,
        models_root: str,
        tracking_uri: str,
        sink: str,
        cause: str,
        seed: int = 0,
    ) -> None:
        prepared = _Prepared(run, detector, spec, data, parameters, champion, models_root, seed)
        evaluations = [prepared.candidate(algorithm) for algorithm in candidates]
        prepared.finish(evaluations, cause, tracking_uri, sink)

    return steps

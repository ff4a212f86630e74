"""What the drift host knows of a serving artifact: its channels, and the calibration of the wanted test.

The calibration lies beside the artifact, as the training made it. Where there is none, or the Detector asks
for another test by now, one is made of the rows that the artifact holds; this, and loading alibi-detect (3 to
11 s), happens in a thread of its own, and whoever asks meanwhile is told that it is not there yet.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from homeostat.eventing.errors import Retry
from homeostat.functions.detector import Revision
from homeostat.functions.spec import Spec
from homeostat.models import artifact
from homeostat.models.drift_calibration import Calibration, calibrate
from homeostat.models.drift_files import DOCUMENT
from homeostat.models.drift_monitor import load_backend
from homeostat.models.drift_words import Settings
from homeostat.models.fitted import Fitted

from .artifacts import local_folder

T = TypeVar("T")

log = logging.getLogger(__name__)

CACHED = 64
"""Artifacts, and calibrations, held in memory."""


@dataclass(frozen=True)
class Shipped:
    """An artifact, and what lies beside it."""

    fitted: Fitted
    calibration: Calibration | None


@dataclass(frozen=True)
class Model:
    """`gaps`: rows may lack numbers."""

    channels: tuple[str, ...]
    gaps: bool
    calibration: Calibration | None


@dataclass(frozen=True)
class Made:
    """A calibration; None where there can be none."""

    calibration: Calibration | None


def shipped(folder: Path) -> Shipped:
    """Raises ArtifactError for an artifact that cannot be trusted; without a calibration that can, there is
    none."""
    fitted = artifact.load(folder)
    if not (folder / DOCUMENT).exists():
        return Shipped(fitted, None)
    try:
        return Shipped(fitted, Calibration.load(folder))
    except (artifact.ArtifactError, ValueError) as error:
        log.warning("the calibration in %s is not used: %s", folder, error)
        return Shipped(fitted, None)


def local_model(uri: str) -> Shipped:
    """Raises ArtifactError or ValueError."""
    return shipped(local_folder(uri))


def settings_of(spec: Spec) -> Settings:
    """Slow change is no drift to a detector that follows it."""
    wanted = spec.drift
    season = wanted.season.total_seconds() if isinstance(wanted.season, timedelta) else wanted.season
    return Settings(
        test=wanted.test,
        p_value=wanted.p_value,
        window=wanted.window,
        every=wanted.every,
        on=wanted.on,
        correction=wanted.correction,
        expected_run_time=wanted.expected_run_time,
        season=season,
        follows=spec.features.baseline > 0,
    )


class Models:
    """Thread-safe. `load` reads the artifact that a URI names, and raises as `local_model` does."""

    def __init__(
        self,
        load: Callable[[str], Shipped] = local_model,
        backend: Callable[[], None] | None = None,
        calibrate: Callable[..., Calibration] = calibrate,
    ) -> None:
        self._load, self._calibrate = load, calibrate
        self.busy = False  # alibi-detect draws from global generators: no test can run beside a calibration
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._made: OrderedDict[tuple[str, Settings], Future[Made]] = OrderedDict()
        self._turn = threading.Lock()
        self._backend = self._beside(backend or load_backend)

    @property
    def _loaded(self) -> bool:
        return self._backend.done() and self._backend.exception() is None

    def settle(self, seconds: float = 60.0) -> None:
        """Wait for what is being loaded and calibrated."""
        with self._lock:
            under_way: list[Future[Any]] = [self._backend, *self._made.values()]
        wait(under_way, seconds)

    def of(self, serving: Revision) -> Model:
        """Raises Retry while the artifact cannot be loaded."""
        with self._lock:
            if serving.uri in self._models:
                self._models.move_to_end(serving.uri)
                return self._models[serving.uri]
        try:
            found = self._load(serving.uri)
        except (artifact.ArtifactError, ValueError) as error:
            raise Retry(f"{serving.name} cannot be loaded: {error}", after=30) from error
        gaps = found.fitted.preparation.missing.policy != "refuse"
        model = Model(found.fitted.channels, gaps, found.calibration)
        with self._lock:
            self._models[serving.uri] = model
            while len(self._models) > CACHED:
                self._models.popitem(last=False)
        return model

    def calibration(self, serving: Revision, wanted: Settings) -> Made | None:
        """None until alibi-detect is loaded and the calibration there."""
        key, model = (serving.uri, wanted), self.of(serving)
        with self._lock:
            made = self._made.get(key)
            if made is None and self._loaded and (fits := _fitting(model.calibration, wanted)):
                return Made(fits)
            if made is None:
                made = self._made[key] = self._beside(self._make, serving, model, wanted)
                while len(self._made) > CACHED:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            if not made.done():
                return None
            if made.exception():
                del self._made[key]  # the next event asks anew
                log.warning("%s is not calibrated for drift: %s", serving.name, made.exception())
                return None
            return made.result()

    def _beside(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """In a thread of its own, one after the other; nobody who ends waits for it."""
        end: Future[T] = Future()

        def run() -> None:
            with self._turn:
                try:
                    end.set_result(work(*arguments))
                except BaseException as error:  # noqa: BLE001 - whoever asks is told
                    end.set_exception(error)

        threading.Thread(target=run, name="drift-calibration", daemon=True).start()
        return end

    def _make(self, serving: Revision, model: Model, wanted: Settings) -> Made:
        self._backend.result()
        if fits := _fitting(model.calibration, wanted):
            return Made(fits)
        log.info("%s is calibrated anew for drift: %s", serving.name, wanted)
        fitted = self._load(serving.uri).fitted
        self.busy = True
        try:
            return Made(self._calibrate(fitted, fitted.reference, settings=wanted))
        except ValueError as error:
            log.warning("%s cannot be tested for drift: %s", serving.name, error)
            return Made(None)
        finally:
            self.busy = False


def _fitting(there: Calibration | None, wanted: Settings) -> Calibration | None:
    """How often a test is due changes nothing in it."""
    if there is None or replace(there.settings, every=wanted.every) != wanted:
        return None
    return replace(there, settings=wanted)

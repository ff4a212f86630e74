"""The drift host's eyes: the rows that detectors were asked about lately, their scores, which of the answers
were wrong, and the tests of them.

Everything lies in SQLite, and what an event brought, the verdicts it led to and what the monitor has become
are committed in one transaction. So a redelivered event finds its verdicts instead of counting twice, a test
that fails leaves nothing behind, and a restart goes on where the last process was, to the bit.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from pydantic import TypeAdapter

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import InferenceRequest, InferenceResponse, LabelReceived, Span
from homeostat.functions.detect_drift import DriftFacts, DriftVerdict
from homeostat.functions.detector import Detector, Revision
from homeostat.models.drift_calibration import Calibration
from homeostat.models.drift_monitor import Monitor
from homeostat.models.drift_words import Settings, Verdict

from .drift_labels import DriftLabels
from .drift_memory import Memory, Progress
from .drift_model import Made, Models, settings_of
from .drift_rows import Piece, answered, asked

log = logging.getLogger(__name__)

MONITORS = 64
"""Held in memory; of others the file has all that there is to know."""
WAIT_SECONDS = 60.0
"""So long rows wait for their scores, which never come where the answer failed."""
_MOST_ROWS = 2_000  # of one event, or as many as a test looks at

_FACTS = TypeAdapter(DriftFacts)

Woke = InferenceRequest | InferenceResponse | LabelReceived


@dataclass(frozen=True, slots=True)
class _Turn:
    """An event's; `pair` is what a request and its answer share, empty where no scores are waited for."""

    detector: Detector
    serving: Revision
    wanted: Settings
    key: str
    pair: str

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def most(self) -> int:
        """Older rows of the same event would be in no window."""
        return max(_MOST_ROWS, self.wanted.window + self.wanted.every)


@dataclass(slots=True)
class _Live:
    """A monitor, and how many rows and errors it was fed."""

    of: tuple[str, Settings]
    monitor: Monitor
    fed: int


class DriftObserver:
    """Thread-safe; one per file. `models` loads artifacts and calibrations."""

    def __init__(self, db: Path, models: Models | None = None) -> None:
        self.models = models or Models()
        self._lock = threading.Lock()
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._memory = Memory(db)
        self._labels = DriftLabels(db)

    def close(self) -> None:
        with self._lock:
            self._labels.close()
            self._memory.close()

    def observe(self, event: Woke, context: Context, detector: Detector) -> DriftFacts | None:
        """Keep what the event brings; the verdicts of `spec.drift` if it is time for some, None if not.

        It is time once `window` rows are there, and again after `every` further ones. All of it belongs to
        the revision that serves; another one starts afresh, as does another test. While alibi-detect is
        loaded or something calibrated, rows are only kept. The same event gets the same answer again.
        Raises Reject for a payload that holds no rows of this detector, and Retry while the serving artifact
        cannot be loaded.
        """
        serving, wanted = detector.status.serving, settings_of(detector.spec)
        if serving is None:
            return None
        piece, labelled = self._brought(event, context, detector, serving, wanted)
        if piece is None and not labelled:
            return None
        pair = f"{context.source} {context.id}" if "scores" in wanted.on else ""
        turn = _Turn(detector, serving, wanted, _key(context), pair)
        made = self.models.calibration(serving, wanted)
        with self._lock:
            try:
                with self._memory.transaction():
                    return self._record(turn, piece, made)
            except BaseException:
                self._live.pop(detector.name, None)  # it has seen what the file has not
                raise

    def _brought(
        self, event: Woke, context: Context, detector: Detector, serving: Revision, wanted: Settings
    ) -> tuple[Piece | None, bool]:
        """Rows or scores, and whether it may have told errors."""
        if isinstance(event, InferenceRequest):
            model = self.models.of(serving)
            return asked(event, context, model.channels, model.gaps, detector.spec.data.period), False
        labelled = "errors" in wanted.on and self._labels.put(event, context, detector)
        if isinstance(event, LabelReceived) or "scores" not in wanted.on:
            return None, labelled
        return answered(event, context, serving.name), labelled

    def _record(self, turn: _Turn, piece: Piece | None, made: Made | None) -> DriftFacts | None:
        memory, name, revision = self._memory, turn.name, turn.serving.name
        if known := memory.known(name, turn.key):
            return _facts(known[1]) if known[0] == revision else None
        now = memory.progress(name, revision, repr(turn.wanted))
        due = self._due(turn, piece)
        if "errors" in turn.wanted.on:
            errors, told = self._labels.errors(name, revision, now.told)
            none = np.zeros((0, len(self.models.of(turn.serving).channels)), np.float32)
            due.append(Piece(none, np.zeros(0), errors=errors[-turn.most :]))
            now = replace(now, told=told)
        for one in due:
            if one.size:
                now = replace(now, upto=now.upto + one.size)
                memory.add(name, one, now.upto)
        verdicts, now = self._tested(turn, made, now)
        facts = DriftFacts(revision, turn.wanted.window, tuple(map(_verdict, verdicts)))
        document = orjson.dumps(asdict(facts)) if verdicts else None
        memory.note(name, now)
        memory.remember(name, turn.key, revision, document)
        return _facts(document)

    def _due(self, turn: _Turn, piece: Piece | None) -> list[Piece]:
        """What may be fed now: rows with their scores where those are watched, or that waited in vain."""
        if not turn.pair:
            return [piece.usable(turn.most)] if piece else []
        moment = turn.detector.now.timestamp()
        whole = None
        if piece:
            whole = self._memory.other_half(turn.name, turn.pair, piece)
            if whole is None:
                self._memory.wait(turn.name, turn.pair, piece, moment)
        found = [*self._memory.waited(turn.name, moment - WAIT_SECONDS), *([whole] if whole else [])]
        return [one.usable(turn.most) for one in found]

    def _tested(self, turn: _Turn, made: Made | None, now: Progress) -> tuple[list[Verdict], Progress]:
        """Feed the monitor what it has not seen; what it says, and what of it is in the file."""
        wanted, memory = turn.wanted, self._memory
        if made is None or made.calibration is None or self.models.busy:
            # Never less than a test needs.
            memory.forget(turn.name, now.upto - 2 * (wanted.window + wanted.every))
            return [], now
        live, verdicts = self._monitor(turn, made.calibration, now), list[Verdict]()
        for one in memory.pieces(turn.name, live.fed):
            assert one.rows is not None  # noqa: S101 - only halves have none
            verdicts += live.monitor.update(one.rows, one.scores, one.errors, one.times)
        live.fed = now.upto
        if verdicts or now.upto - now.saved >= wanted.every:
            memory.save(turn.name, live.monitor.state())
            memory.forget(turn.name, now.upto)
            now = replace(now, saved=now.upto)
        return verdicts, now

    def _monitor(self, turn: _Turn, calibration: Calibration, now: Progress) -> _Live:
        """The one that is at work, or as the file has it."""
        of = (f"{turn.serving.name} {turn.serving.uri}", turn.wanted)
        live = self._live.get(turn.name)
        if live is None or live.of != of:
            live = self._live[turn.name] = _Live(of, *self._restored(turn.name, calibration, now.saved))
            while len(self._live) > MONITORS:
                self._live.popitem(last=False)
        self._live.move_to_end(turn.name)
        return live

    def _restored(self, name: str, calibration: Calibration, saved: int) -> tuple[Monitor, int]:
        state = self._memory.state(name)
        if state is not None:
            try:
                return Monitor.restore(calibration, state), saved
            except ValueError as error:
                log.warning("what was known of %s is not used: %s", name, error)
        return Monitor(calibration), 0


def _key(context: Context) -> str:
    # KServe's request and response share id and source, so the type belongs to the key.
    return " ".join((context.source, context.id, context.type))


def _verdict(one: Verdict) -> DriftVerdict:
    return DriftVerdict(
        on=one.on,
        test=one.test,
        statistic=one.statistic,
        threshold=one.threshold,
        p_value=one.p_value,
        drifted=one.drifted,
        channels=one.channels,
        correction=one.correction,
        reference=Span(**asdict(one.reference)),
        tested=Span(**asdict(one.tested)),
    )


def _facts(document: bytes | None) -> DriftFacts | None:
    return None if document is None else _FACTS.validate_json(document)

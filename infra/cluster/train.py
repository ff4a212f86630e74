"""What a TrainJob's pod runs: one training run, from its request to the event that tells its end.

    python -m homeostat.infra.cluster.train '{"run": "pump-0a1b2c", …}'

The pipeline's last step tells that it succeeded. What failed is told here, which is the exit handler that
kfp.local does not have; so is what takes too long. A pod that is interrupted tells nothing, because the next
one begins the run anew: the ids of a run's events derive from its cause, so that nobody takes its end twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from homeostat.pipelines.announcement import failed_event, post

from ..training_request import last_words, prepare, step, too_long

log = logging.getLogger(__name__)

EXIT_UNTOLD = 1
"""Nobody knows that the run failed: the Job begins it anew."""
EXIT_FAILED = 3
"""It failed, and that was told. infra/base/training/runtime.yaml ends the Job at this code."""
EXIT_INTERRUPTED = 128 + signal.SIGTERM
GRACE_SECONDS = 15.0
FOLLOW_SECONDS = 0.5
ARGUMENT = 100_000
"""Linux takes no argument of 128 KiB or more (MAX_ARG_STRLEN), and a run may read thousands of batches."""


def arguments(request: Mapping[str, Any]) -> list[str]:
    """The request as JSON, cut where it is too long. In ASCII, so that a character is a byte; and without a
    `$`, as Kubernetes reads `$(NAME)` and `$$` in arguments."""
    text = json.dumps(request, separators=(",", ":")).replace("$", "\\u0024")
    return [text[at : at + ARGUMENT] for at in range(0, len(text), ARGUMENT)]


def request_in(pieces: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("".join(pieces))
    return found


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_INTERRUPTED))
    request = request_in(sys.argv[1:])
    # The one place that can be written; the last pod's leavings, if any, are cleared by the run.
    folder = Path(tempfile.gettempdir()) / f"homeostat-{request['run']}"
    error = work(request, folder)
    sys.exit(0 if error is None else told(request, step(folder), error))


def work(request: Mapping[str, Any], folder: Path) -> str | None:
    """Run the pipeline in a process of its own, which may be killed for its memory; None when it ended well,
    else why it did not."""
    command = prepare(folder, request)
    with _started(command, folder / "log") as process:
        try:
            code = process.wait(request["timeout"])
        except subprocess.TimeoutExpired:
            return too_long(request["timeout"])
    return None if code == 0 else last_words(folder, code)


@contextlib.contextmanager
def _started(command: Sequence[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, for the block; its steps end with it. It writes its log itself, as it looks for its error
    there; we read it to the pod's own."""
    over = threading.Event()
    with log_file.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    reading = threading.Thread(target=_follow, args=(log_file, over), daemon=True)
    reading.start()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        over.set()
        reading.join()


def _follow(log_file: Path, over: threading.Event) -> None:
    with log_file.open("rb") as written:
        while True:
            last = over.is_set()
            sys.stdout.buffer.write(written.read())
            sys.stdout.buffer.flush()
            if last:
                return
            over.wait(FOLLOW_SECONDS)


def told(request: Mapping[str, Any], at: str, error: str) -> int:
    """Tell the broker that the run failed; the exit code that follows."""
    log.error("%s failed at %s: %s", request["run"], at or "start", error)
    try:
        post(request["sink"], failed_event(request["detector"], request["cause"], request["run"], at, error))
    except httpx.HTTPError as refused:
        log.error("%s does not take it: %s", request["sink"], refused)
        return EXIT_UNTOLD
    return EXIT_FAILED


if __name__ == "__main__":
    main()

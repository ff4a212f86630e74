"""The process that works on one training run: the pipeline's components, run by kfp.local.

    python -m homeostat.infra.training_run .homeostat/runs/pump-0a1b2c

One machine's engine starts it, and so does a TrainJob's pod. It dies with whoever started it, and takes the
step that it is at with it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import orjson

from .local.child import die_with_parent

EXIT_FAILED = 1


def main() -> None:
    folder = Path(sys.argv[1])
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_FAILED))
    with (folder / "lock").open("w") as lock:
        # Whoever still works on this run (an orphan, for a moment) is waited for, never joined.
        fcntl.flock(lock, fcntl.LOCK_EX)
        request = orjson.loads((folder / "request.json").read_bytes())
        sys.exit(run(folder, request))


def run(folder: Path, request: dict[str, Any]) -> int:
    """Run the pipeline; 0 when it succeeded. A failure's step and reason are left in the folder."""
    from kfp import local

    from homeostat.pipelines.training import unrolled

    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    (folder / "error").unlink(missing_ok=True)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(work), raise_on_error=True)
    _children_die_too()
    pipeline = unrolled(request["candidates"])
    try:
        pipeline(
            run=request["run"],
            detector=request["detector"],
            spec=_text(request["spec"]),
            data=request["data"],
            parameters=_text(request["parameters"]),
            champion=request["champion"],
            models_root=request["models_root"],
            tracking_uri=request["tracking_uri"],
            sink=request["sink"],
            cause=_text(request["cause"]),
        )
    except Exception as error:  # noqa: BLE001 - whatever went wrong in a step is this run's failure
        sys.stdout.flush()  # the log's end is where the reason is
        (folder / "error").write_text(_reason(folder, error))
        return EXIT_FAILED
    shutil.rmtree(work, ignore_errors=True)
    return 0


def _text(document: object) -> str:
    return orjson.dumps(document).decode()


def _children_die_too() -> None:
    """Have every step's process end with this one: kfp.local starts them through subprocess.Popen."""
    import subprocess

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("preexec_fn", die_with_parent)
            super().__init__(*args, **kwargs)

    from kfp.local import subprocess_task_handler

    subprocess_task_handler.subprocess.Popen = Popen


def _reason(folder: Path, error: Exception) -> str:
    """The exception that ended the step, from the end of the log: what a person would look for."""
    lines = (folder / "log").read_text(errors="replace").splitlines() if (folder / "log").exists() else []
    told = [line.strip() for line in lines if re.match(r"\s*[\w.]+(Error|Exception|Interrupt)\b.*:", line)]
    return told[-1] if told else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()

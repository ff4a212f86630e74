"""One trial as a child process: begun in a session of its own, watched, and ended with all that it started.

What it may use is the manifest's: `resources.limits.memory`, counted as the memory that really is in use by
the trial and its children (libraries reserve far more), and `activeDeadlineSeconds`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.2
"""How often memory is looked at."""
LOG_TAIL = 1000


@dataclass(frozen=True)
class Limits:
    """Memory in bytes and time in seconds, None for no limit."""

    memory: int | None
    seconds: float | None


@dataclass
class Process:
    """`reason` says why we ended it, None while it may run or when it ended by itself."""

    process: subprocess.Popen[bytes]
    limits: Limits
    begun: float
    reason: str | None = None
    peak: int = 0
    _looked: float = 0.0
    _kill_at: float = field(default=float("inf"))

    def ended(self) -> bool:
        """Look at it: whether it is over. One that uses too much, or will not go, is ended."""
        if self.process.poll() is not None:
            self.kill()  # what it started and left behind
            return True
        now = time.monotonic()
        if now >= self._kill_at:
            self.kill()
        elif self.reason is None:
            self._hold_to_limits(now)
        return False

    def stop(self, reason: str) -> None:
        """Ask it to end; after a grace period it is killed."""
        self.reason = reason
        self._kill_at = time.monotonic() + GRACE_SECONDS
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _hold_to_limits(self, now: float) -> None:
        seconds, memory = self.limits.seconds, self.limits.memory
        if seconds is not None and now - self.begun > seconds:
            self.stop(f"it took longer than {seconds:g} s (activeDeadlineSeconds)")
        elif memory is not None and now - self._looked > LOOK_SECONDS:
            self._looked = now
            self.peak = max(self.peak, resident(self.process.pid))
            if self.peak > memory:
                used, most = self.peak / 2**20, memory / 2**20
                self.reason = f"it used {used:.0f} MiB of memory, more than {most:.0f} MiB (limits.memory)"
                self.kill()


def begin(command: Sequence[str], environment: Mapping[str, str], log_file: Path, limits: Limits) -> Process:
    """Start a trial; what it prints, errors too, goes to the log."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),
        )
    return Process(process, limits, time.monotonic())


def _die_with_parent(parent: int) -> Callable[[], None]:
    """What the new process does first. The library is loaded before the fork, not after."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def first() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return first


def resident(pid: int) -> int:
    """Bytes of memory that a process and its children have in use."""
    found = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += one.memory_info().rss
    return found


def last_words(log_file: Path, code: int) -> str:
    """How a trial ended, and the end of what it printed."""
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    with contextlib.suppress(FileNotFoundError), log_file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - LOG_TAIL))
        return f"{how}: {log.read().decode(errors='replace').strip()}"
    return how

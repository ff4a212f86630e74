"""An app on a port of this machine, in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette


@contextlib.contextmanager
def on_a_port(
    app: Starlette, tls: tuple[Path, Path] | None = None, port: int = 0, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Its address, until the block ends; `tls` are the files of a certificate and its key. A free port, where
    none is told."""
    files = {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])} if tls else {}
    running = uvicorn.Server(uvicorn.Config(app, host, port, log_level="error", **files))  # type: ignore[arg-type]
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.005)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()

"""`python -m tests.bench.coldstart_empty PORT`: an empty FastAPI app, the peer of a function's start."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/", status_code=202)
async def receive() -> None: ...


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")

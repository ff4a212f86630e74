"""`python -m tests.bench.coldstart_function FUNCTION PORT`: a function as its pod serves it, but for where
the API server is: `BENCH_API` and `BENCH_TOKEN` stand for what Kubernetes mounts."""

from __future__ import annotations

import os
import sys

import uvicorn

from homeostat.infra.cluster.access import Bearer
from homeostat.infra.cluster.errors import SECONDS
from homeostat.infra.cluster.host import served
from homeostat.infra.cluster.settings import read

if __name__ == "__main__":
    import httpx  # after homeostat, as in a pod

    function, port = sys.argv[1:]
    auth = Bearer(lambda: os.environ["BENCH_TOKEN"])
    http = httpx.Client(base_url=os.environ["BENCH_API"], auth=auth, timeout=SECONDS)
    app = served(function, read(os.environ), http)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")

"""MLflow's aliases of what serves and what is on trial, set through its REST API: a function that wakes for a
moment does not load MLflow. https://mlflow.org/docs/latest/rest-api.html"""

from __future__ import annotations

import logging

import httpx

from homeostat.models.aliases import aliases

log = logging.getLogger(__name__)

PATH = "/api/2.0/mlflow/registered-models/alias"
SECONDS = 5.0


class Aliases:
    """`url` is MLflow's; `http` is a parameter for tests."""

    def __init__(self, url: str, http: httpx.Client | None = None) -> None:
        self._url = f"{url}{PATH}"
        self._http = http or httpx.Client(timeout=SECONDS, trust_env=False)

    def want(self, detector: str, champion: str | None, challenger: str | None) -> bool:
        """Versions of the detector's registered model. Whether MLflow has them now; one that is away hinders
        nothing, and is told with the next command."""
        for alias, version in aliases(champion, challenger).items():
            name = {"name": detector, "alias": alias}
            try:
                answer = (
                    self._http.post(self._url, json={**name, "version": version})
                    if version
                    else self._http.request("DELETE", self._url, json=name)
                )
                answer.raise_for_status()
            except httpx.HTTPError as error:
                log.warning("MLflow's alias %s of %s is not set: %s", alias, detector, error)
                return False
        return True

"""Settings of the one-machine home: flags, then `HOMEOSTAT_*` in the environment, then these defaults."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _loopback(host: str) -> str:
    if host == "localhost" or ip_address(host).is_loopback:
        return host
    raise ValueError("only loopback is served for now: use 127.0.0.1 and an authenticating proxy in front")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HOMEOSTAT_", extra="ignore")

    state: Path = Path(".homeostat")
    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    tick: str = "@every 10s"
    sample: float = Field(default=1.0, ge=0, le=1)
    max_runs: int = Field(default=1, ge=1)
    max_object_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    prometheus_url: str | None = None
    drain_seconds: float = Field(default=10.0, ge=0)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def sink(self) -> str:
        """The broker's ingress, as Knative's K_SINK names it to a function."""
        return f"{self.url}/homeostat/default"

    @property
    def broker_db(self) -> Path:
        return self.state / "broker.db"

    @property
    def detectors_db(self) -> Path:
        return self.state / "detectors.db"

    @property
    def drift_db(self) -> Path:
        return self.state / "drift.db"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{(self.state / 'mlflow.db').resolve()}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def data(self, detector: str) -> Path:
        """Where `homeostat land` puts files when the Detector's uri is relative to the state."""
        return self.state / "data" / detector

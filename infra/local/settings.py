"""Settings of the one-machine home: flags, then `HOMEOSTAT_*` in the environment, then these defaults."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from homeostat.eventing.doors import DOORS

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
"""Where one's own machine is called, when every address of it listens."""


def _address(host: str) -> str:
    try:
        return host if host == "localhost" else str(ip_address(host))
    except ValueError:
        raise ValueError("give an IP address to listen at, or localhost") from None


def _of_doors(rates: dict[str, float]) -> dict[str, float]:
    if unknown := sorted(set(rates) - set(DOORS)):
        raise ValueError(f"there is no door {', '.join(unknown)}; the doors are {', '.join(DOORS)}")
    if any(not 0 <= rate < 1e9 for rate in rates.values()):
        raise ValueError("give requests a second, 0 for no limit")
    return rates


def _paths(value: object) -> object:
    """As PATH has them: one after the other with colons between them."""
    return tuple(Path(one) for one in value.split(os.pathsep) if one) if isinstance(value, str) else value


class Settings(BaseSettings):
    """`manifests` are Triggers, sources and sinks beside the loop's own, files or folders of them. The event
    log keeps `retain_days` and `retain_bytes`. A file in a Detector's folder counts once it stood still for
    `settle_seconds`; every `list_seconds` (0: never) stores are listed for what was not announced.

    `host` may be any address here; whether the home may listen there is `doors.may_start`'s to say.

    `rates` are requests a second of one client at a door (0: no limit), such as
    `HOMEOSTAT_RATES='{"storage": 100}'`. `token` is a person's own, `broker_token` what the home gives its
    children.
    """

    model_config = SettingsConfigDict(env_prefix="HOMEOSTAT_", extra="ignore")

    state: Path = Path(".homeostat")
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token: SecretStr | None = None
    broker_token: SecretStr | None = None
    rates: Annotated[dict[str, float], AfterValidator(_of_doors)] = Field(default_factory=dict)
    max_headers: int = Field(default=128, ge=16)
    max_header_bytes: int = Field(default=128 * 1024, ge=1024)
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    body_seconds: float = Field(default=30.0, gt=0)
    tick: str = "@every 10s"
    sample: float = Field(default=1.0, ge=0, le=1)
    max_runs: int = Field(default=1, ge=1)
    max_object_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    prometheus_url: str | None = None
    drain_seconds: float = Field(default=10.0, ge=0)
    manifests: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = ()
    retain_days: float = Field(default=14.0, gt=0)
    retain_bytes: int = Field(default=4 * 1024**3, ge=1024**2)
    settle_seconds: float = Field(default=2.0, gt=0)
    list_seconds: float = Field(default=300.0, ge=0)

    @property
    def url(self) -> str:
        """Where the home is called from its own machine."""
        host = _ANY.get(self.host, self.host)
        scheme = "https" if self.tls_cert else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def sink(self) -> str:
        """The broker's ingress, as Knative's K_SINK names it to a function."""
        return f"{self.url}/homeostat/default"

    @property
    def tokens_file(self) -> Path:
        return self.state / "tokens.json"

    @property
    def signatures_file(self) -> Path:
        return self.state / "signatures.json"

    @property
    def address_file(self) -> Path:
        """Where a running home says how it is reached."""
        return self.state / "home.json"

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
    def labels_db(self) -> Path:
        return self.state / "labels.db"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{(self.state / 'mlflow.db').resolve()}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def data(self, detector: str) -> Path:
        """Where `homeostat land` puts files when the Detector's uri is relative to the state."""
        return self.state / "data" / detector

"""Where the parts of a cluster are: what the ConfigMap `homeostat` and Knative's SinkBinding put into a pod's
environment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from homeostat.eventing.codec import faults
from homeostat.eventing.doors.calling import MOUNTED, trust_also
from homeostat.eventing.errors import Reject

OIDC = MOUNTED
"""Only in clusters that ask for a token (`authentication-oidc`)."""


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address such as http://name.namespace.svc.cluster.local:8888")
    return text.rstrip("/")


def _address_or_none(text: str) -> str:
    return _address(text) if text else ""


def _objects(text: str) -> str:
    if not urlsplit(text).scheme:
        raise ValueError("give a place that every pod reaches, such as s3://homeostat")
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseModel):
    """Fields are named as the environment names them.

    Without `HOMEOSTAT_PIPELINES_URL` training runs are Kubeflow Trainer's TrainJobs; where Kubeflow has
    several users, `HOMEOSTAT_PIPELINES_NAMESPACE` is the profile's that runs lie in. `HOMEOSTAT_OPEN_DOORS`
    lets callers of the gateway in without a token, where only network policies keep others out.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sink: Address = Field(alias="K_SINK")
    sink_authorities: str = Field(default="", alias="K_CA_CERTS")
    namespace: str = Field(
        default="homeostat", alias="HOMEOSTAT_NAMESPACE", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
    )
    objects_url: Annotated[str, AfterValidator(_objects)] = Field(alias="HOMEOSTAT_OBJECTS_URL")
    pipelines_url: Annotated[str, AfterValidator(_address_or_none)] = Field(
        default="", alias="HOMEOSTAT_PIPELINES_URL"
    )
    pipelines_namespace: str = Field(default="", alias="HOMEOSTAT_PIPELINES_NAMESPACE")
    prometheus_url: Address = Field(alias="HOMEOSTAT_PROMETHEUS_URL")
    serving_mode: Literal["knative", "standard"] = Field(default="knative", alias="HOMEOSTAT_SERVING_MODE")
    tracking_uri: Address = Field(alias="MLFLOW_TRACKING_URI")
    katib: bool = Field(default=True, alias="HOMEOSTAT_KATIB")
    open_doors: bool = Field(default=False, alias="HOMEOSTAT_OPEN_DOORS")
    max_object_bytes: int = Field(default=512 * 1024 * 1024, ge=1, alias="HOMEOSTAT_MAX_OBJECT_BYTES")
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, alias="HOMEOSTAT_MAX_BODY_BYTES")

    @property
    def models_root(self) -> str:
        return f"{self.objects_url}/models"

    @property
    def state_root(self) -> str:
        """Where copies of what functions remember are kept."""
        return f"{self.objects_url}/state"

    def token(self) -> str | None:
        """The token for the broker, if this cluster's senders have one."""
        return OIDC.read_text().strip() if OIDC.exists() else None

    def trust(self) -> ssl.SSLContext | bool:
        """Whom to trust at the broker: its own authority where there is one, beside everyone's."""
        return trust_also(self.sink_authorities)


def read(environ: Mapping[str, str]) -> Settings:
    """Raises Reject with every variable that is missing or wrong."""
    try:
        return Settings.model_validate(dict(environ))
    except ValidationError as error:
        raise Reject(faults(error, "environment")) from None

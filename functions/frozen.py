"""What a Detector is made of: nothing in it changes, and nothing is in it that no field is for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

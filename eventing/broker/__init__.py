"""The embedded durable broker: Knative's data-plane contract on one machine."""

from .broker import Broker
from .manifests import Destination

__all__ = ["Broker", "Destination"]

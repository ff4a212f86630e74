"""The embedded durable broker: Knative's data-plane contract on one machine."""

from .broker import Broker
from .manifests import Destination
from .senders import App

__all__ = ["App", "Broker", "Destination"]

"""What stands at every door: who may come in, how much they may bring, and how often.

    guarded = Guard(app, {"/serving": Door("serving"), "/": Door("broker")}, Tokens(state / "tokens.json"))

The parts are small: `tokens` and `signatures` tell senders apart, `oidc` does so on a cluster, `limits` says
when it is too much, `binding` refuses to listen wider than that allows, and `guard` ties them to an ASGI app.
"""

from .binding import check_binding, check_tls, is_loopback
from .door import DOORS, Door
from .guard import Guard
from .limits import Limits, Rate
from .signatures import Signatures
from .tokens import Tokens

__all__ = [
    "DOORS",
    "Door",
    "Guard",
    "Limits",
    "Rate",
    "Signatures",
    "Tokens",
    "check_binding",
    "check_tls",
    "is_loopback",
]

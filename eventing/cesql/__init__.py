"""CloudEvents SQL 1.0: expressions over an event's attributes, as `cesql` filters write them."""

from .expression import Expression, compile
from .values import NAMES, EvaluationError, Value

__all__ = ["NAMES", "EvaluationError", "Expression", "Value", "compile"]

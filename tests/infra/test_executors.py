"""Every command has an executor in this home, and every fact that a decision needs has an observer."""

from __future__ import annotations

from homeostat.eventing.messages import COMMANDS
from homeostat.infra.local.executors import EXECUTORS


def test_every_command_has_an_executor_and_nothing_else_has() -> None:
    assert set(EXECUTORS) == set(COMMANDS)

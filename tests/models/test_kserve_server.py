"""What KServe's server is told about the socket that it is handed."""

from __future__ import annotations

import socket

from homeostat.models.kserve_server import answer_at_once


def test_a_connection_of_a_socket_that_is_handed_over_does_not_wait_for_acknowledgements() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        answer_at_once(bound.fileno())
        with socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bound.fileno() > 0, "it is still open"

"""What every server's socket is like."""

from __future__ import annotations

import socket

from tunewright.server.listening import listen


def test_answers_on_a_kept_connection_are_not_held_back() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

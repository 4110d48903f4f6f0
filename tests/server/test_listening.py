"""What every server's socket is like."""

from __future__ import annotations

import socket

import pytest

from tunewright.server.listening import listen, local_address


def test_answers_on_a_kept_connection_are_not_held_back() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
    ],
)
def test_this_machine_reaches_it_by_a_plain_address(host: str, reached: str) -> None:
    with listen(host, 0) as listening:
        assert local_address(listening) == f"http://{reached}:{listening.getsockname()[1]}"

"""Ports of the loopback for servers that a test starts."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack


class Port:
    """A port that nobody listens on, nor on the one `further` on, and that nobody else is given until it is released.

    It is below those that the system gives to whoever connects. Whoever else asks here, in this process or in another,
    finds it taken even while its server is not started yet or not again: ports for datagrams have the same numbers, no
    server of a test uses them, and the system gives them back whatever becomes of the process.
    """

    def __init__(self, further: int = 0) -> None:
        while True:
            # Hypothesis seeds `random`, in every process alike.
            self.number = secrets.choice(range(10_000, 32_000 - further))
            with ExitStack() as held:
                try:
                    for number in {self.number, self.number + further}:
                        place = ("127.0.0.1", number)
                        held.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(place)
                        with socket.socket() as probe:
                            probe.bind(place)
                except OSError:
                    continue
                self._held = held.pop_all()
                return

    def release(self) -> None:
        """Let others have it."""
        self._held.close()

"""Sends the time every half millisecond over the socket that is its standard input, until nobody reads any more.

A program of its own, so that who reads is woken from outside, as by a venue.
"""

from __future__ import annotations

import os
import socket
import sys
import time

PERIOD_NS = 500_000


def tick(line: socket.socket) -> None:
    clock = time.perf_counter_ns  # of the machine, not of the process
    due = clock()
    while True:
        due += PERIOD_NS
        ahead_ns = due - clock()
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1e9)
        else:
            due = clock()  # whoever reads was away: what is missed is not sent later
        try:
            line.sendall(clock().to_bytes(8, "big"))
        except OSError:
            return


if __name__ == "__main__":
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # wherever who started it has to run
    with socket.socket(fileno=sys.stdin.fileno()) as own:
        tick(own)

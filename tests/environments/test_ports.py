"""Ports of local servers: nobody else takes them meanwhile."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from harness.environments import ports
from harness.environments.ports import LOOPBACK, Ports


def test_two_runs_never_get_the_same_port() -> None:
    one, other = Ports(), Ports()
    try:
        taken = [one.take() for _ in range(5)] + [other.take() for _ in range(5)]
        assert len(set(taken)) == 10
        with pytest.raises(OSError, match="unavailable"):
            other.take(taken[0])
        code = "from harness.environments.ports import Ports; print(Ports().take())"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                               check=True).stdout  # fmt: skip
        assert int(shown) not in taken
    finally:
        one.close()
        other.close()


def test_ports_are_outside_the_range_of_the_kernel() -> None:
    low, high = ports._assigned_by_the_kernel()
    held = Ports()
    assert not low <= held.take() <= high
    held.close()


def test_a_port_on_which_somebody_listens_is_not_taken() -> None:
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        s.listen()
        with pytest.raises(OSError, match="in use"):
            Ports().take(s.getsockname()[1])


def test_a_port_is_free_again_when_its_run_has_ended() -> None:
    held = Ports()
    port = held.take()
    held.close()
    again = Ports()
    assert again.take(port) == port
    again.close()

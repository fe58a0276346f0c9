"""A request to stop, in the main thread and in another one."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bench.core.signals import StopRequest


def test_a_signal_stops_the_block_and_the_earlier_handler_returns():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before


def test_another_thread_than_the_main_one_handles_no_signals():
    seen: list[object] = []

    def run() -> None:
        with StopRequest() as stop:
            seen.append(stop.made)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

"""A request to stop, in the main thread and in another one."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bench.core.signals import StopRequest


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_signal_stops_the_block_and_the_earlier_handler_returns(sent):
    # Whatever the tests were started by, such as nohup.
    found = signal.signal(sent, signal.default_int_handler)
    try:
        with StopRequest() as stop:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), sent)
            with pytest.raises(KeyboardInterrupt):
                stop.check()
        assert signal.getsignal(sent) == signal.default_int_handler
    finally:
        signal.signal(sent, found)


def test_a_signal_that_is_ignored_as_after_nohup_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_than_the_main_one_handles_no_signals():
    seen: list[object] = []

    def run() -> None:
        with StopRequest() as stop:
            seen.append(stop.made)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

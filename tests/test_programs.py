"""Signals are noted wherever the program is, and lead to one cancellation."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cloudburst import programs
from cloudburst.programs import InterruptHandler, stop_signals

BOTH = (signal.SIGINT, signal.SIGTERM)


def handlers():
    return [signal.getsignal(signum) for signum in BOTH]


def test_handlers_are_put_back_after_errors_too():
    before = handlers()
    taken = InterruptHandler(BOTH)

    def fail():
        with taken:
            assert handlers() != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert handlers() == before
    assert taken.first_signal is None


def test_signals_that_are_ignored_at_the_start_stay_ignored():
    assert stop_signals() == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_signal_is_told_in_the_loop_and_further_ones_are_not():
    told = []

    async def main(taken):
        with taken.call_on_first_signal(lambda: told.append(taken.first_signal)):
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(signum)
                await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    with InterruptHandler(BOTH) as taken:
        asyncio.run(main(taken))
        signal.raise_signal(signal.SIGINT)  # the loop is closed
    assert told == [signal.SIGTERM]


def test_a_signal_before_the_loop_is_reported_at_once():
    told = []

    async def main(taken):
        with taken.call_on_first_signal(lambda: told.append(True)):
            assert told

    with InterruptHandler(BOTH) as taken:
        signal.raise_signal(signal.SIGINT)
        asyncio.run(main(taken))


def test_a_signal_wakes_a_busy_or_sleeping_loop():
    async def main(taken):
        came = asyncio.Event()
        with taken.call_on_first_signal(came.set):
            threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
            await came.wait()

    with InterruptHandler(BOTH) as taken:
        began = time.monotonic()
        asyncio.run(asyncio.wait_for(main(taken), 10))  # its timer would wake the loop, too
    assert taken.first_signal == signal.SIGINT
    assert time.monotonic() - began < 5


def test_the_handlers_of_a_loop_are_still_called():
    async def main(taken):
        came = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, came.set)
        with taken.call_on_first_signal(lambda: None):
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(came.wait(), 5)

    with InterruptHandler(BOTH) as taken:
        asyncio.run(main(taken))
    assert signal.set_wakeup_fd(-1) == -1


def test_a_later_one_leaves_from_wherever_the_program_is(monkeypatch):
    monkeypatch.setattr(programs, "REPEAT_WINDOW", 0.2)
    left = []
    with InterruptHandler(BOTH, on_later_signal=left.append):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert not left
        time.sleep(0.25)
        signal.raise_signal(signal.SIGTERM)
    assert left == [signal.SIGTERM]


def test_other_threads_leave_signals_alone():
    before, seen = handlers(), []

    def look():
        with InterruptHandler(BOTH):
            seen.extend(handlers())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == before


def test_a_repetition_does_not_change_the_end_of_a_process():
    code = (
        "import signal, time\n"
        "from cloudburst.programs import InterruptHandler\n"
        "class Late:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT); print('late', flush=True)\n"
        "with InterruptHandler([signal.SIGINT]) as taken:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    taken.ignore_from_now_on()\n"
        "late = Late()\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "raise SystemExit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "late\n", "")

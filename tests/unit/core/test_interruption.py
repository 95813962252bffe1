"""Signals end an event loop in good order, wherever they strike."""

import asyncio
import signal
import threading

import pytest

from instructlab_pipeline import interruption


class Struck(Exception):  # noqa: N818 - what a handler raises
    pass


@pytest.fixture(params=interruption.SIGNALS)
def number(request):
    """A signal that raises an exception, as those of the command line do."""

    def raises(_number, _frame):
        raise Struck

    before = signal.signal(request.param, raises)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_cancels_the_work_which_puts_its_things_away(number):
    put_away = []

    async def work() -> None:
        try:
            signal.raise_signal(number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            put_away.append("all")

    with pytest.raises(KeyboardInterrupt):
        interruption.run(work())
    assert put_away == ["all"]


def test_a_signal_strikes_no_task_beside(number):
    """One that raised there would be lost, and the work would go on."""
    beside = []

    async def busy() -> None:
        signal.raise_signal(number)
        beside.append("done")

    async def work() -> None:
        await asyncio.create_task(busy())
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        interruption.run(work())
    assert beside == ["done"]


def test_handlers_are_as_before_when_the_work_is_done(number):
    async def work() -> int:
        return 7

    assert interruption.run(work()) == 7
    with pytest.raises(Struck):
        signal.raise_signal(number)


def test_signals_that_nobody_handles_are_left_alone():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def work() -> object:
            return signal.getsignal(signal.SIGHUP)

        assert interruption.run(work()) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_beside_the_main_one_run_work_too():
    async def work() -> int:
        return 7

    found = []
    thread = threading.Thread(target=lambda: found.append(interruption.run(work())))
    thread.start()
    thread.join()
    assert found == [7]


def test_a_cancellation_that_no_signal_asked_for_stays_one():
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        interruption.run(work())

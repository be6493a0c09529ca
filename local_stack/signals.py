"""Ctrl-C, SIGTERM and a closed terminal as one exception in the main thread, so that everything stops in order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(BaseException):
    """Somebody asked the launcher to stop, by the signal ``number``. Not an error, hence not an Exception."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, the first of the signals raises StopAsked; the ones after it are ignored, since stopping is under way.

    The handlers are set also where the signal was ignored: a shell starts a job in the background that way.
    """
    asked = False

    def handler(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise StopAsked(signal.Signals(number))

    before = {number: signal.signal(number, handler) for number in _ASKS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)

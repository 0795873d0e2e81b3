"""SIGTERM and SIGINT as a flag that a training looks at between steps, so that nothing is cut in half."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SAME = (
    1.0  # seconds within which two SIGINT are one key press: a terminal signals the whole group, a launcher passes on
)


class Stop(Exception):
    """The first signal came inside `Interrupts.raising`."""


class Interrupts:
    """Inside `with`, the first SIGTERM or SIGINT only sets `stop` to its number; a SIGINT after that raises at once.

    The handlers of before come back at the end. Python allows handlers in the main thread alone: elsewhere this does
    nothing and `stop` stays None. A process that stops because of it ends with status 128 + `stop`.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self._noted = 0.0
        self._raising = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python, which can only be left as the default
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    @contextmanager
    def raising(self) -> Iterator[None]:
        """For long work that may be given up and done again: the first signal sets `stop` and raises `Stop` at once.

        So it does at the beginning where `stop` is set already. Catch it around this, not inside: it may be raised by
        the last line of the block or right behind it.
        """
        self._raising = True
        try:
            if self.stop is not None:
                raise Stop
            yield
        finally:
            self._raising = False

    def _note(self, number: int, frame) -> None:
        now = time.monotonic()
        if self.stop is not None and number == signal.SIGINT and now - self._noted > SAME:
            raise KeyboardInterrupt
        if self.stop is None:
            self.stop, self._noted = number, now
            # not print: the signal may have come in the middle of one
            with suppress(OSError):
                os.write(2, b"stopping after this step; interrupt again to stop at once\n")
            if self._raising:
                raise Stop

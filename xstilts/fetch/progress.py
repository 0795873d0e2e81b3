"""How far a fetch is: a bar on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

EVERY = 5.0  # seconds between two plain lines
_MB = 1e6


class Stopped(BaseException):
    """Raised in a worker's transfer when the fetch is being stopped; no handler of errors shall keep it."""


class Progress:
    """Bytes and files that are done. `add` is called by workers, `show` by the main thread."""

    def __init__(self, known: int, unknown: int, files: int, say: Callable[[str], None]):
        """`known`: bytes to bring; `unknown`: downloads whose size is not known; `files`: files to write."""
        self.known, self.unknown, self.files, self._say = known, unknown, files, say
        self.bytes = self.written = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._bar = self._task = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
            from rich.progress import Progress as Bar

            words = TextColumn("{task.description}")
            columns = (words, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self._files(), total=self.known or None)
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        if self._bar:
            self.show(now=True)
            self._bar.stop()

    def add(self, count: int) -> None:
        """`count` bytes more are here (less, where a beginning had to be given up)."""
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.bytes += count

    def alive(self, values: Iterable) -> Iterator:
        """The values, until the fetch is being stopped."""
        for value in values:
            if self.stop.is_set():
                raise Stopped
            yield value

    def show(self, now: bool = False) -> None:
        """Bring the bar up to date, or say a line where EVERY seconds have passed since the last (or `now`)."""
        if self._bar:
            self._bar.update(self._task, completed=self.bytes, description=self._files())
        elif now or time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            total = f" of {self.known / _MB:,.1f} MB" + (f" and {self.unknown} of unknown size" if self.unknown else "")
            self._say(f"fetch: {self.bytes / _MB:,.1f}{total}, {self._files()}")

    def _files(self) -> str:
        return f"{self.written} of {self.files} files"

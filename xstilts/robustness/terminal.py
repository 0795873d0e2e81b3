"""What `python -m xstilts attack` shows: how far it is, and what changed in the texts that succeeded."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from xstilts.attacks.outcomes import SUCCEEDED, Outcome
from xstilts.attacks.visible import difference, visible

QUIET = 5  # seconds before anything is said
EVERY = 10  # seconds between lines where the last one cannot be written over


class Progress:
    """Examples done, queries a second and the time left, on stderr once `QUIET` seconds have passed."""

    def __init__(self, stream=None, clock=time.monotonic):
        self._stream, self._clock = stream or sys.stderr, clock
        self._began = self._told = clock()
        self._first: int | None = None
        self._width = 0

    def __call__(self, done: int, total: int, queries: int) -> None:
        """`done` of `total` examples are over, by `queries` queries since this command began."""
        self._first = done - 1 if self._first is None else self._first  # what a journal had took no time
        now, terminal = self._clock(), self._stream.isatty()
        spent = now - self._began
        if spent < QUIET or done == total or now - self._told < (1 if terminal else EVERY):
            return
        self._told = now
        left = spent / (done - self._first) * (total - done)
        line = f"{done} of {total} examples, {queries / spent:.0f} queries/s, about {_duration(left)} left"
        self._stream.write(f"\r{line:<{self._width}}" if terminal else f"{line}\n")
        self._stream.flush()
        self._width = len(line)

    def close(self) -> None:
        """End the line that was written over."""
        if self._width and self._stream.isatty():
            self._stream.write("\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{rest} s"


def coloured(stream=None) -> bool:
    """True where `stream` (stdout) shows colours: a terminal, and NO_COLOR is not set."""
    return bool((stream or sys.stdout).isatty()) and not os.environ.get("NO_COLOR")


def gallery(outcomes: Iterable[Outcome], most: int, colour: bool = False) -> str:
    """The first `most` successes: id, score before and after, and the changed fields, everything made visible."""
    lines = []
    for one in [one for one in outcomes if one.outcome == SUCCEEDED][:most]:
        lines.append(f"{visible(one.id)}: {one.clean:.2f} -> {one.attacked:.2f}, {one.queries} queries")
        lines += [
            f"  {name}: {difference(text, one.adversarial.get(name, ''), colour)}"
            for name, text in one.original.items()
            if text != one.adversarial.get(name)
        ]
    return "\n".join(lines)

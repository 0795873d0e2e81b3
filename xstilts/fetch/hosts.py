"""Which hosts answer: of one that does not, a single file waits its attempts out and not every one of a study."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from xstilts.hub import transfer
from xstilts.hub.refusals import Refused, Unreachable

PATIENCE = 8  # failures in a row of a host that has answered before


def gave_up(error: Exception) -> bool:
    """Whether the host, and not what was asked of it, is the reason of a failure: it was tried to the end."""
    tried = isinstance(error.__cause__, Exception) and transfer.transient(error.__cause__)
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and tried)


class Hosts:
    """What was heard of each host in one fetch. Methods may be called from several threads."""

    def __init__(self):
        self._heard: set[str] = set()
        self._silent: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}
        self._lock = threading.Lock()

    def given_up(self, host: str) -> str | None:
        """Why nothing more is asked of a host; None: it may be asked."""
        with self._lock:
            return self._given_up.get(host)

    def listening(self, host: str, progress: Callable[[int], None]) -> Callable[[int], None]:
        """`progress` for one transfer, which notes that bytes came from the host."""
        calls = 0

        def add(count: int) -> None:
            nonlocal calls
            progress(count)
            calls += 1
            if count > 0 and calls > 1:  # the first call says what was here before
                with self._lock:
                    self._heard.add(host)
                    self._silent[host] = 0

        return add

    def failed(self, host: str, error: Exception) -> None:
        """Note a failed transfer. A host is given up where nothing answers at it and nothing ever came from it, or
        after PATIENCE files in a row that were tried to the end."""
        if not gave_up(error):
            return
        with self._lock:
            self._silent[host] += 1
            never = isinstance(error, Unreachable) and host not in self._heard
            if never or self._silent[host] >= PATIENCE:
                self._given_up.setdefault(host, error.reason)

"""Items prepared ahead by a thread, so that a GPU does not wait for the batches that it computes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue


class ahead(Iterator):
    """Iterate over `items` in their order, with up to `depth` of them prepared ahead by a thread; 0: without a thread.

    What is yielded does not depend on `depth`. An error in `items` is raised at its place in the order. A context
    manager: at its end, or by `close()`, the thread stops and `items` is closed; what was prepared and not taken is
    lost (so `items` must not count what was used). `items` must not draw from torch's random numbers.
    """

    def __init__(self, items: Iterable, depth: int):
        self._items, self._over = iter(items), False
        self._thread = None
        if depth > 0:
            self._ready, self._slots = SimpleQueue(), threading.Semaphore(depth)
            self._thread = threading.Thread(target=self._prepare, name="prefetch", daemon=True)
            self._thread.start()

    def __next__(self):
        if self._over:
            raise StopIteration
        if self._thread is None:
            return next(self._items)
        item, error = self._ready.get()
        if error is not None:
            self.close()
            raise error
        self._slots.release()
        return item

    def _prepare(self) -> None:
        while True:
            self._slots.acquire()
            if self._over:
                return
            try:
                entry = next(self._items), None
            except BaseException as error:  # StopIteration too: raised again where the consumer reaches it
                entry = None, error
            self._ready.put(entry)
            if entry[1] is not None:
                return

    def close(self) -> None:
        """Stop; nothing more is yielded."""
        self._over = True
        if self._thread is not None:
            self._slots.release()
            self._thread.join()
        if hasattr(self._items, "close"):
            self._items.close()

    def __enter__(self) -> ahead:
        return self

    def __exit__(self, *_) -> None:
        self.close()

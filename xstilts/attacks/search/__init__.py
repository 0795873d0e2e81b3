"""Search: which changes to try next. A search is a coroutine over one example; the engine answers all of them at once.

Protocol: it yields a list of `Changes` (number of a unit -> new text) to be scored and is sent one result for each, in
order, None for one that a constraint refused; it returns the `Changes` it settles on with their result. It never sees
the text, the model or other examples, and draws all random choices from `Task.rng`.
"""

from __future__ import annotations

from collections.abc import Callable

from xstilts.attacks.search.differential import evolution
from xstilts.attacks.search.ranking import greedy_trial, ranked
from xstilts.attacks.search.steps import beam, greedy, once
from xstilts.attacks.search.task import Changes, Found, Probe, Search, Task

SEARCHES: dict[str, Callable[[Task], Search]] = {
    "greedy_trial": greedy_trial,
    "ranked": ranked,
    "greedy": greedy,
    "beam": beam,
    "evolution": evolution,
    "once": once,
}

__all__ = ["SEARCHES", "Changes", "Found", "Probe", "Search", "Task"]

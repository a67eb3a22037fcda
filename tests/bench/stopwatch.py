"""Where the time of a program goes: methods are replaced by ones that note how long they take.

Times are exclusive: what a watched method spends in another watched method counts for the other one. Each thread has
its own stack, so watched methods may run on several threads. The watch itself costs about half a microsecond a call,
half of it charged to the caller.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Stopwatch:
    """Nanoseconds and calls by layer, since the last `reset`."""

    def __init__(self) -> None:
        self.spent_ns: defaultdict[str, int] = defaultdict(int)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._local = threading.local()

    def reset(self) -> None:
        self.spent_ns.clear()
        self.calls.clear()

    def watch(self, layer: str, owner: type, *names: str) -> None:
        """Count the time of these methods of a class for `layer`."""
        for name in names:
            setattr(owner, name, self.wrap(layer, getattr(owner, name)))

    def wrap(self, layer: str, function: Callable[P, R]) -> Callable[P, R]:
        """`function`, its time counted for `layer`."""
        clock, spent_ns, calls, local = time.perf_counter_ns, self.spent_ns, self.calls, self._local

        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            outer: int = getattr(local, "inner_ns", 0)
            local.inner_ns = 0
            started = clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = clock() - started
                spent_ns[layer] += took - local.inner_ns
                calls[layer] += 1
                local.inner_ns = outer + took

        return watched

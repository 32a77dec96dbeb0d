"""Keeps the best of millions of candidates that come in chunks: leaders of one value, the front of two."""

from __future__ import annotations

from typing import Any

FRONT_POINTS = 64  # the front is thinned to this many: its memory axis in as many steps


class Leaders:
    """The `count` smallest values, with where they came from."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._values: Any = None
        self._index: Any = None
        self._source: Any = None

    def offer(self, values: Any, index: Any, source: int) -> None:
        """Consider candidates: `values` [n] with their `index` [n, axes] in `source`."""
        import numpy as np

        if self._values is not None and len(self._values) == self.count:
            better = values < self._values[-1]
            if not better.any():
                return
            values, index = values[better], index[better]
        if len(values) > self.count:
            best = np.argpartition(values, self.count - 1)[: self.count]
            values, index = values[best], index[best]
        sources = np.full(len(values), source)
        if self._values is not None:
            values = np.concatenate([self._values, values])
            index = np.concatenate([self._index, index])
            sources = np.concatenate([self._source, sources])
        order = np.argsort(values, kind="stable")[: self.count]
        self._values, self._index, self._source = values[order], index[order], sources[order]

    def best(self) -> list[tuple[int, Any]]:
        """(source, index) of the leaders, best first."""
        if self._values is None:
            return []
        return list(zip(self._source.tolist(), self._index, strict=True))


class Front:
    """Candidates that no other beats in both cost and time (the Pareto front), by rising cost."""

    def __init__(self) -> None:
        import numpy as np

        self._cost, self._time, self._source = np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
        self._index: Any = None

    def offer(self, cost: Any, time: Any, index: Any, source: int) -> None:
        """Consider candidates with their `cost` [n], `time` [n] and `index` [n, axes] in `source`."""
        import numpy as np

        if len(self._cost):
            # the best time known at no more than this cost
            known = np.searchsorted(self._cost, cost, side="right") - 1
            best = np.where(known >= 0, self._time[known], np.inf)
            keep = time < best
            if not keep.any():
                return
            cost, time, index = cost[keep], time[keep], index[keep]
        cost = np.concatenate([self._cost, cost])
        time = np.concatenate([self._time, time])
        source_of = np.concatenate([self._source, np.full(len(index), source)])
        index = index if self._index is None else np.concatenate([self._index, index])
        order = np.lexsort((time, cost))
        fastest = np.minimum.accumulate(time[order])
        first = np.concatenate([[True], fastest[1:] < fastest[:-1]])
        order = order[first]
        self._cost, self._time, self._index, self._source = (
            cost[order],
            time[order],
            index[order],
            source_of[order],
        )

    def points(self) -> list[tuple[int, Any]]:
        """(source, index) along the front, thinned to the fastest of each step of cost."""
        import numpy as np

        if not len(self._cost):
            return []
        low, high = self._cost[0], self._cost[-1]
        step = np.ceil((self._cost - low) / max(high - low, 1e-300) * (FRONT_POINTS - 1)).astype(int)
        last = np.concatenate([step[1:] != step[:-1], [True]])
        return list(zip(self._source[last].tolist(), self._index[last], strict=True))

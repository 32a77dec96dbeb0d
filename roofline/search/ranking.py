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

    @property
    def worst(self) -> float:
        """The largest of the values kept; infinite while there is room."""
        full = self._values is not None and len(self._values) == self.count
        return float(self._values[-1]) if full else float("inf")

    def offer(self, values: Any, index: Any, source: Any) -> None:
        """Consider candidates: `values` [n] with their `index` [n] in `source` (a number, or [n]).

        Of equals the first by source and index stays, in whatever order they come.
        """
        import numpy as np

        source = np.broadcast_to(source, np.shape(values))
        last = min(self.count, len(values)) - 1
        better = values <= min(self.worst, np.partition(values, last)[last])
        values, index, source = values[better], index[better], source[better]
        if self._values is not None:
            values = np.concatenate([self._values, values])
            index = np.concatenate([self._index, index])
            source = np.concatenate([self._source, source])
        order = np.lexsort((index, source, values))[: self.count]
        self._values, self._index, self._source = values[order], index[order], source[order]

    def merge(self, later: Leaders) -> None:
        """Consider what others kept."""
        if later._values is not None:
            self.offer(later._values, later._index, later._source)

    def arrays(self) -> dict[str, Any]:
        """Its columns by name; none while it is empty."""
        if self._values is None:
            return {}
        return {"values": self._values, "index": self._index, "source": self._source}

    def from_arrays(self, arrays: dict[str, Any]) -> Leaders:
        """Itself, with the columns of another."""
        self._values, self._index, self._source = arrays["values"], arrays["index"], arrays["source"]
        return self

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

    def within(self, cost: Any) -> Any:
        """The best time known at no more than each `cost`; infinite where none is: [n]."""
        import numpy as np

        return np.append(self._time, np.inf)[np.searchsorted(self._cost, cost, side="right") - 1]

    def offer(self, cost: Any, time: Any, index: Any, source: Any) -> None:
        """Consider candidates with their `cost` [n], `time` [n] and `index` [n] in `source` (a number, or [n]).

        Of equals the first by source and index stays, in whatever order they come.
        """
        import numpy as np

        source = np.broadcast_to(source, np.shape(cost))
        keep = time <= self.within(cost)
        cost, time, index, source = cost[keep], time[keep], index[keep], source[keep]
        first = np.argsort(
            cost, kind="stable"
        )  # most are slower than one that costs as little: by one key, then by all
        first = first[time[first] <= np.minimum.accumulate(time[first])]
        cost, time, index, source = cost[first], time[first], index[first], source[first]
        cost = np.concatenate([self._cost, cost])
        time = np.concatenate([self._time, time])
        source_of = np.concatenate([self._source, source])
        index = index if self._index is None else np.concatenate([self._index, index])
        order = np.lexsort((index, source_of, time, cost))
        fastest = np.minimum.accumulate(time[order])
        first = np.concatenate([[True], fastest[1:] < fastest[:-1]])
        order = order[first]
        self._cost, self._time, self._index, self._source = (cost[order], time[order], index[order], source_of[order])

    def merge(self, later: Front) -> None:
        """Consider what others kept."""
        if later._index is not None:
            self.offer(later._cost, later._time, later._index, later._source)

    def arrays(self) -> dict[str, Any]:
        """Its columns by name; none while it is empty."""
        if self._index is None:
            return {}
        return {"cost": self._cost, "time": self._time, "index": self._index, "source": self._source}

    def from_arrays(self, arrays: dict[str, Any]) -> Front:
        """Itself, with the columns of another."""
        self._cost, self._time = arrays["cost"], arrays["time"]
        self._index, self._source = arrays["index"], arrays["source"]
        return self

    def points(self) -> list[tuple[int, Any]]:
        """(source, index) along the front, thinned to the fastest of each step of cost."""
        import numpy as np

        if not len(self._cost):
            return []
        low, high = self._cost[0], self._cost[-1]
        step = np.ceil((self._cost - low) / max(high - low, 1e-300) * (FRONT_POINTS - 1)).astype(int)
        last = np.concatenate([step[1:] != step[:-1], [True]])
        return list(zip(self._source[last].tolist(), self._index[last], strict=True))

"""What a search keeps while it runs; what two of them kept can be put together."""

from __future__ import annotations

from typing import Any

from .ranking import Front, Leaders

_COUNTS = ("evaluated", "priced")


class Best:
    """The best of the layouts offered, with the piece each comes from.

    Attributes:
        leaders: By the objective.
        smallest: The one that needs least memory, where a chunk held none that surely fits.
        front: No other is both faster and smaller; None where nobody asked.
        simple: The best of each amount of machinery.
        software: The best on each profile.
        evaluated: Layouts decided.
        priced: Layouts that fit.
    """

    def __init__(self, leaders: int, *, front: bool) -> None:
        self.leaders, self.smallest = Leaders(leaders), Leaders(1)
        self.front = Front() if front else None
        self.simple: dict[int, Leaders] = {}
        self.software: dict[str, Leaders] = {}
        self.evaluated = self.priced = 0

    def offer(
        self, values: Any, memory: Any, seconds: Any, index: Any, machinery: Any, *, stack: str, number: int
    ) -> None:
        """Consider layouts that fit, of the piece `number`: their values by the objective, bytes, seconds: [n]."""
        self.software.setdefault(stack, Leaders(1)).offer(values, index, number)
        self.leaders.offer(values, index, number)
        if self.front is not None:
            self.front.offer(memory, seconds, index, number)
        better = (values <= self._known(machinery)).nonzero()[0]
        levels = machinery[better]
        for level in sorted(set(levels.tolist())):
            chosen = better[levels == level]
            self.simple.setdefault(level, Leaders(1)).offer(values[chosen], index[chosen], number)

    def _known(self, machinery: Any) -> Any:
        """The best value known at each amount of machinery: [n]."""
        import numpy as np

        known = np.full(int(machinery.max(initial=0)) + 1, np.inf)
        for level, leaders in self.simple.items():
            if level < len(known):
                known[level] = leaders.worst
        return known[machinery]

    def wants(self, values: Any, memory: Any, seconds: Any, machinery: Any, stack: str) -> Any:
        """Where a layout might be kept that has at least these `values` and `seconds`: [n]."""
        leaders = [self.leaders, self.software.get(stack, Leaders(1))]
        wanted = values <= max(each.worst for each in leaders)
        wanted |= values <= self._known(machinery)
        if self.front is not None:
            wanted |= seconds <= self.front.within(memory)
        return wanted

    @property
    def empty(self) -> bool:
        """Whether no layout was offered at all, not even one that does not fit."""
        return not self.leaders.best() and not self.smallest.best()

    def merge(self, later: Best) -> None:
        """Take in what was kept of pieces that come later: of equals the earlier stays."""
        self.leaders.merge(later.leaders)
        self.smallest.merge(later.smallest)
        if self.front is not None and later.front is not None:
            self.front.merge(later.front)
        for level, leaders in later.simple.items():
            self.simple.setdefault(level, Leaders(1)).merge(leaders)
        for stack, leaders in later.software.items():
            self.software.setdefault(stack, Leaders(1)).merge(leaders)
        self.evaluated += later.evaluated
        self.priced += later.priced

    def arrays(self) -> dict[str, Any]:
        """All of it as arrays by name, for a file that holds nothing else (see `from_arrays`)."""
        import numpy as np

        found: dict[str, Any] = {"counts": np.array([getattr(self, name) for name in _COUNTS])}
        kept = {"leaders": self.leaders, "smallest": self.smallest, "front": self.front}
        kept |= {f"simple:{level}": leaders for level, leaders in self.simple.items()}
        kept |= {f"software:{stack}": leaders for stack, leaders in self.software.items()}
        for name, each in kept.items():
            if each is not None:
                found |= {f"{name}_{key}": array for key, array in each.arrays().items()}
        return found

    def from_arrays(self, arrays: Any) -> Best:
        """Itself, with what `arrays` wrote of another."""
        for name, count in zip(_COUNTS, arrays["counts"].tolist(), strict=True):
            setattr(self, name, count)
        tables: dict[str, dict[str, Any]] = {}
        for name in arrays:
            table, _, key = name.rpartition("_")
            tables.setdefault(table, {})[key] = arrays[name]
        for name, table in tables.items():
            kind, _, which = name.partition(":")
            if kind == "simple":
                self.simple[int(which)] = Leaders(1).from_arrays(table)
            elif kind == "software":
                self.software[which] = Leaders(1).from_arrays(table)
            elif kind and getattr(self, kind) is not None:
                getattr(self, kind).from_arrays(table)
        return self

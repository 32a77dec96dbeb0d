"""The smallest sets of changes that do it: of each set, no part does, nor the set with a weaker change in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product

from .changes import Change

Set = tuple[Change, ...]


def smallest_sets(kinds: Mapping[str, Sequence[Change]], does: Callable[[Set], bool], most: int) -> list[Set]:
    """Sets of changes of different kinds that do it, the smallest first: the fewest changes, and one more.

    Args:
        kinds: Changes by kind, the weakest first: a stronger one does it wherever a weaker one does.
        does: Whether changes together do it.
        most: Changes in a set, at most.
    """
    found: list[Set] = []
    places = {id(change): place for each in kinds.values() for place, change in enumerate(each)}

    def needless(made: Set) -> bool:
        """Whether a set that was found is part of this one, or of it with weaker changes."""
        strength = {change.kind: places[id(change)] for change in made}
        return any(all(strength.get(one.kind, -1) >= places[id(one)] for one in other) for other in found)

    for number in range(1, most + 1):
        for names in combinations(kinds, number):
            if not does(tuple(kinds[name][-1] for name in names)):
                continue
            for made in product(*(kinds[name] for name in names)):
                if not needless(made) and does(made):
                    found.append(made)  # noqa: PERF401 (`needless` reads it)
        if found and number > len(found[0]):
            break
    return found

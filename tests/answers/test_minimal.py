"""The smallest sets of changes, against all sets tried one by one."""

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from roofline.answers.changes import Change
from roofline.answers.minimal import smallest_sets


def kinds_of(savings):
    return {
        f"kind {number}": [
            Change(kind=f"kind {number}", what=f"{number}/{place}", options={"saves": saved})
            for place, saved in enumerate(sorted(each))
        ]
        for number, each in enumerate(savings)
    }


def saved(made):
    return sum(change.options["saves"] for change in made)


def weaker(kinds, made):
    """Every set with one change left out, or one as strong as the next weaker."""
    for place, change in enumerate(made):
        rest = made[:place] + made[place + 1 :]
        yield rest
        below = kinds[change.kind].index(change) - 1
        if below >= 0:
            yield (*rest, kinds[change.kind][below])


@given(
    savings=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=3, unique=True), min_size=1, max_size=5),
    needed=st.integers(1, 50),
)
def test_sets_do_it_and_none_of_their_changes_is_needless(savings, needed):
    kinds = kinds_of(savings)
    found = smallest_sets(kinds, lambda made: saved(made) >= needed, 3)
    for made in found:
        assert saved(made) >= needed
        assert all(saved(less) < needed for less in weaker(kinds, made))
    every = (made for n in (1, 2, 3) for names in combinations(kinds, n) for made in product(*map(kinds.get, names)))
    fewest = min((len(made) for made in every if saved(made) >= needed), default=None)
    assert (min(map(len, found)) if found else None) == fewest

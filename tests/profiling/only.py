"""The one of several that is meant."""


def only(items, **wanted):
    found = [item for item in items if all(getattr(item, key) == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, items)
    return found[0]

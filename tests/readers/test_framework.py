"""Declarations of frameworks: every file loads, names its source, and takes over what its base says."""

import pytest

from roofline.errors import RooflineError
from roofline.model.expressions import names_in
from roofline.readers.framework import Framework, framework_names, load_framework


@pytest.mark.parametrize("name", framework_names())
def test_every_framework_is_whole(name: str) -> None:
    found = load_framework(name)
    assert found.title
    assert found.source
    for table in (found.derived, found.options, found.model, found.sizes, found.changes):
        for expression in table.values():
            names_in(expression)  # raises where it is no expression


def test_own_declarations_lie_over_the_bases() -> None:
    for name in framework_names():
        found = load_framework(name)
        for base in found.base:
            assert set(load_framework(base).options) <= set(found.options)


def test_an_unknown_one_names_the_nearest() -> None:
    with pytest.raises(RooflineError, match="^unknown framework 'megatrn': did you mean 'megatron-lm'"):
        load_framework("megatrn")


def test_nothing_is_declared_where_nothing_is_said() -> None:
    assert not any(getattr(Framework(), name) for name in Framework.__struct_fields__)

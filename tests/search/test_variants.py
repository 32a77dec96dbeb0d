"""Configurations that differ in recompute, or in how data parallelism shards, are counted together where they may be."""

import pytest

from roofline.config.settle import train_config
from roofline.search.variants import alike, counted_as, plain_of


def test_what_differs_in_recompute_alone_is_counted_together():
    trains = [
        train_config({"recompute": how, "sharding": word}) for how in ("none", "full") for word in ("none", "fsdp")
    ]
    assert alike(trains) == [[0, 2], [1, 3]]
    assert plain_of(trains[3]) == trains[1]


@pytest.mark.parametrize(
    ("stack", "sharding", "as_"),
    [
        ("megatron", "zero1", "none"),
        ("torchtitan", "fsdp", "fsdp"),  # gathers in 16 bits what it keeps in 32
        ("megatron", "fsdp", "none"),
    ],
)
def test_shardings_that_cast_alike_are_counted_as_none(stack, sharding, as_):
    assert counted_as(sharding, train_config({"stack": stack})) == as_

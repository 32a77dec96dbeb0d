"""Configurations that differ in recompute, or in what data parallelism shards, are counted together if they may be."""

import pytest

from roofline.config.settle import train_config
from roofline.search.variants import alike, counted_as, plain_of


def test_what_differs_in_recompute_alone_is_counted_together():
    words = [{"recompute": how, "sharding": word} for how in ("none", "full") for word in ("none", "fsdp")]
    trains = [train_config(each) for each in words]
    assert alike(trains) == [[0, 2], [1, 3]]
    assert plain_of(trains[3]) == trains[1]


@pytest.mark.parametrize(
    ("stack", "sharding", "as_"),
    [
        ("megatron", "zero1", "none"),
        ("megatron", "fsdp", "none"),
        ("compiled", "zero1", "none"),
        ("axolotl", "zero1", "zero1"),  # DeepSpeed's engine, with 16-bit weights
        ("axolotl", "fsdp", "fsdp"),  # autocast, where weights are whole: shards are cast as they are gathered
    ],
)
def test_shardings_that_cast_alike_are_counted_as_none(stack, sharding, as_):
    assert counted_as(sharding, train_config({"stack": stack})) == as_

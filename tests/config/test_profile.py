"""The profile that a configuration runs on."""

import pytest

from roofline.config.profile import profile_of, sums_whole
from roofline.config.run import TrainConfig
from roofline.config.stack import load_stack


@pytest.mark.parametrize("stack", ["fsdp", "hf-trainer", "nemo"])
def test_zero_3_keeps_weights_in_16_bits(stack: str) -> None:
    profile = profile_of(TrainConfig(stack=stack, sharding="zero3"))
    assert not profile.cast_weights
    assert not profile.shards_in_fp32
    for sharding in ("none", "fsdp"):
        assert profile_of(TrainConfig(stack=stack, sharding=sharding)) == load_stack(stack)


@pytest.mark.parametrize("sharding", ["zero1", "zero2"])
@pytest.mark.parametrize(
    ("stack", "engine"), [("fsdp", True), ("hf-trainer", True), ("axolotl", True), ("eager", False)]
)
def test_stages_1_and_2_are_deepspeeds_where_nothing_else_has_them(stack: str, engine: bool, sharding: str) -> None:
    # DeepSpeed's engine makes the module bf16 and its gradients with it; torch's ZeroRedundancyOptimizer casts nothing
    profile = profile_of(TrainConfig(stack=stack, sharding=sharding))
    assert (profile != load_stack(stack)) == engine
    if engine:
        assert (profile.cast_weights, profile.shards_in_fp32, profile.gradient_dtype) == (False, False, "model")


@pytest.mark.parametrize(
    ("stack", "sharding", "said", "whole"),
    [
        ("hf-trainer", "fsdp", None, True),
        ("hf-trainer", "fsdp", True, False),
        ("hf-trainer", "zero3", None, False),  # DeepSpeed reduces in every micro batch
        ("fsdp", "hsdp", None, False),
        ("fsdp", "hsdp", False, True),
    ],
)
def test_whole_gradients_are_summed_where_the_software_does_not_sync(
    stack: str, sharding: str, said: bool | None, whole: bool
) -> None:
    train = TrainConfig(stack=stack, sharding=sharding, sync_each_batch=said)
    assert sums_whole(train, load_stack(stack)) is whole

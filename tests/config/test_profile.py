"""The profile that a configuration runs on."""

import pytest

from roofline.config.profile import profile_of
from roofline.config.run import TrainConfig
from roofline.config.stack import load_stack


@pytest.mark.parametrize("stack", ["fsdp", "hf-trainer", "nemo"])
def test_zero_3_keeps_weights_in_16_bits(stack: str) -> None:
    profile = profile_of(TrainConfig(stack=stack, sharding="zero3"))
    assert not profile.cast_weights
    assert not profile.shards_in_fp32
    for sharding in ("none", "zero2", "fsdp"):
        assert profile_of(TrainConfig(stack=stack, sharding=sharding)) == load_stack(stack)

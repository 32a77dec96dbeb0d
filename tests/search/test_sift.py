"""One piece of a search: what is ruled out, and by what the rest is measured."""

from __future__ import annotations

import pytest

from roofline.search.answer import layouts

from .small import DENSE, DEVICE


@pytest.mark.parametrize("objective", ["time", "cost", "energy", "memory"])
def test_objectives(objective):
    result = layouts(DENSE, DEVICE, num_devices=(4, 8), global_batch=32, objective=objective)
    values = {
        "time": lambda layout: layout.step_time_s,
        "cost": lambda layout: layout.device_seconds_per_step,
        "energy": lambda layout: layout.device_seconds_per_step * layout.energy_share,
        "memory": lambda layout: layout.memory_bytes,
    }
    found = [values[objective](layout) for layout in result.layouts]
    assert found == pytest.approx(sorted(found), rel=1e-12)


def test_parameters_are_sharded_under_a_pipeline_only_if_asked():
    options = {"num_devices": 16, "global_batch": 64, "sharding": "fsdp"}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, top=50).layouts} == {1}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, pp=2).layouts} == {2}


def test_nothing_is_sharded_over_one_rank():
    both = layouts(DENSE, DEVICE, num_devices=4, global_batch=32, sharding=("none", "zero1"), top=500).layouts
    ranks = {word: {each.dp * each.cp for each in both if each.sharding == word} for word in ("none", "zero1")}
    assert 1 in ranks["none"]
    assert min(ranks["zero1"]) > 1
    tried = [
        layouts(DENSE, DEVICE, num_devices=1, global_batch=32, sharding=words).evaluated
        for words in ("none", ("none", "zero1"))
    ]
    assert tried[0] == tried[1] > 0

"""The layouts that stand out: no twins, no dominated ones."""

import itertools

import msgspec
import pytest

from roofline.counting.step import build_step
from roofline.footprint.parts import memory_of
from roofline.footprint.spreads import SURE
from roofline.hardware import override
from roofline.search.answer import layouts
from roofline.search.layout import HARDLY
from roofline.view.layouts import recommendation

from .small import DENSE, DEVICE


def test_no_layout_is_dominated_by_a_twin_of_the_same_degrees():
    found = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, top=30).layouts
    assert len(found) == 30
    for better, worse in itertools.combinations(found, 2):
        degrees = ("tp", "pp", "cp", "ep", "dp", "stack", "dtype", "attention")
        if all(getattr(better, name) == getattr(worse, name) for name in degrees):
            assert worse.memory_bytes < better.memory_bytes


def test_virtual_stages_alone_do_not_make_another_layout():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, pp=4, top=20)
    seen = [msgspec.structs.replace(layout.train, vp=1) for layout in result.layouts]
    assert len(set(seen)) == len(seen)


def test_the_simplest_cannot_be_told_from_the_best():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=64)
    assert result.simplest is not None
    assert result.ties(result.simplest)
    assert (result.simplest.tp, result.simplest.pp, result.simplest.cp) == (
        1,
        1,
        1,
    )  # a 1B model: data parallel only


def test_the_simplest_is_never_much_slower_however_little_is_known_of_links():
    """Cards that stage through host memory: layouts half as slow again cannot be told from the fastest."""
    result = layouts("llama-3-8b", "rtx-4090", num_devices=8, train="lora", stack="fsdp")
    slower = [one for one in result.near_ties if one.step_time_s > (1 + HARDLY) * result.layouts[0].step_time_s]
    assert slower
    assert result.simplest.step_time_s <= (1 + HARDLY) * result.layouts[0].step_time_s
    assert "within 5 %" in recommendation(result)[1][1]


def test_front_has_no_dominated_layout():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=32)
    for one, other in itertools.pairwise(result.front):
        assert one.memory_bytes < other.memory_bytes
        assert one.step_time_s > other.step_time_s
    assert result.front[-1].step_time_s == pytest.approx(result.layouts[0].step_time_s)


def test_what_is_recommended_surely_fits_and_what_hardly_does_only_where_nothing_else_does():
    asked = {"num_devices": 8, "global_batch": 64, "stack": "megatron", "micro_batch": 1, "tp": 2, "pp": 1, "cp": 1}
    asked |= {"recompute": "full", "sharding": "zero1", "sequence_parallel": True}
    (alone,) = layouts(DENSE, DEVICE, **asked).layouts
    held = float(memory_of(build_step(DENSE, alone.train), DEVICE).needed_bytes) / 2**30
    roomy, tight, small = (override(DEVICE, memory_gib=held * room) for room in (1.2, 1.01, 0.99))
    assert [one.fit_probability >= SURE for one in layouts(DENSE, roomy, **asked).layouts] == [True]
    hardly = layouts(DENSE, tight, **asked)  # the log of 1.01 over a spread of 6 % or more: a sixth of a deviation
    assert hardly.fitting == 0
    assert 0.5 < hardly.layouts[0].fit_probability < 0.6
    assert hardly.simplest == hardly.layouts[0]
    assert "none surely fits" in recommendation(hardly)[1][1]
    assert layouts(DENSE, small, **asked).layouts == []

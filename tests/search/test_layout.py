"""Which layouts cannot be told apart: by the interval of their ratio, not of each."""

import math

import msgspec
import pytest

from roofline.answers.estimate import estimate
from roofline.config.settle import outline, train_config
from roofline.config.stack import load_stack
from roofline.footprint.spreads import SURE
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.search.answer import layouts
from roofline.search.layout import (
    ARRAY_FROM,
    layout_dict,
    layout_line,
    layouts_of,
    mean_draw,
    unsure,
    value_of,
    worse_by,
)
from roofline.search.space import WORDS
from roofline.timing.terms import TERMS

H100 = load_device("h100-sxm-80gb")
MIXTRAL = load_model("mixtral-8x7b")


def layout(**options):
    """Data parallelism alone, as given."""
    asked = {"micro_batch": 1, "recompute": "none", "sharding": "zero1", "stack": "nemo", **options}
    degrees = dict.fromkeys(("tp", "pp", "cp"), 1)
    return layouts("llama-2-7b", H100, num_devices=8, global_batch=64, top=1, **degrees, **asked).layouts[0]


def test_a_layout_ties_with_itself_and_the_order_of_percentiles():
    one = layout()
    least, expected, most = worse_by(one, one, "time", H100)
    assert expected == 0
    assert least < 0 < most
    assert (1 + least) * (1 + most) == pytest.approx(1)


def test_a_third_slower_is_no_tie():
    fast, slow = layout(), layout(recompute="full")
    assert slow.step_time_s < fast.step_time_high_s * 1.25  # its own interval nearly reaches as far
    assert worse_by(fast, slow, "time", H100)[0] > 0


def test_other_software_errs_by_itself():
    first, same = layout(), layout(micro_batch=2)
    other = msgspec.structs.replace(same, stack="fsdp")
    near, far = worse_by(first, same, "time", H100), worse_by(first, other, "time", H100)
    assert far[2] - far[0] > near[2] - near[0]


def test_two_kinds_of_software_add_what_each_errs_by_itself():
    """Standard deviations of independent errors add in squares; 10th and 90th percentiles are 1.2816 of them off."""
    first, same = layout(), layout(micro_batch=2)
    other = msgspec.structs.replace(same, stack="fsdp")
    _, middle, high = worse_by(first, same, "time", H100)
    shared = math.log((1 + high) / (1 + middle)) / 1.2816
    width = math.exp(1.2816 * math.hypot(shared, load_stack("nemo").spread, load_stack("fsdp").spread))
    least, expected, most = worse_by(first, other, "time", H100)
    assert expected == pytest.approx(same.step_time_s / first.step_time_s - 1)
    assert 1 + most == pytest.approx((1 + expected) * width, rel=1e-4)
    assert 1 + least == pytest.approx((1 + expected) / width, rel=1e-4)


def test_a_device_that_waits_draws_half():
    one = layout()
    terms = msgspec.structs.replace(one.schedule, **dict.fromkeys(one.schedule.__struct_fields__, 0.0))
    busy, waiting = (next(name for name in TERMS if bool(TERMS[name].waits) == waits) for waits in (False, True))
    assert mean_draw(msgspec.structs.replace(terms, **{busy: 3.0, waiting: 1.0, "total": 4.0})) == 1 - 0.25 / 2


def test_what_a_layout_is_ranked_by():
    one = layout()
    assert value_of(one, "time") == one.step_time_s
    assert value_of(one, "cost") == 8 * one.step_time_s
    assert value_of(one, "energy") == 8 * one.step_time_s * one.energy_share
    assert value_of(one, "memory") == one.memory_bytes


def test_its_figures_are_those_of_its_estimate():
    one = layout()  # 64 sequences of 4,096 tokens on 8 devices
    said = {name: getattr(one, name) for name in ("num_devices", "micro_batch", "stack", *WORDS)}
    alone = estimate("llama-2-7b", H100, **said, global_batch=64)
    assert one.tokens_per_s == pytest.approx(64 * 4096 / one.step_time_s)
    assert (one.step_time_s, one.mfu) == pytest.approx((alone.step_time_s, alone.mfu))
    assert one.device_seconds_per_step == 8 * one.step_time_s
    assert set(layout_dict(one)) == set(one.__struct_fields__) - {"train", "schedule"}


def test_how_surely_it_fits_is_said_where_it_is_not_sure():
    one = layout()
    assert one.fit_probability >= SURE
    assert unsure(one) == unsure(msgspec.structs.replace(one, fit_probability=SURE)) == ""
    assert unsure(msgspec.structs.replace(one, fit_probability=0.456)) == "46 % sure to fit"


def test_a_search_shows_its_best_and_its_simplest():
    asked = {"num_devices": 8, "global_batch": 64, "pp": 1, "cp": 1, "stack": "nemo", "recompute": "none"}
    found = layouts("llama-2-7b", H100, **asked, tp=(1, 2), micro_batch=1)
    shown = f"<SearchResult: {found.evaluated} layouts, {found.fitting} fit: best {layout_line(found.layouts[0])}"
    assert repr(found) == f"{shown}; simplest {layout_line(found.simplest)}>"
    assert repr(msgspec.structs.replace(found, simplest=None)) == f"{shown}>"
    fast, slow = layout(), layout(recompute="full")
    assert msgspec.structs.replace(found, layouts=[fast, slow]).near_ties == [fast]
    few = msgspec.structs.replace(found, layouts=[], evaluated=1234)
    assert repr(few) == "<SearchResult: 1,234 layouts, none fits>"
    assert layout_line(found.layouts[0]).startswith("<8 devices: dp 8, zero1, micro batch 1, nemo: ")
    assert ", micro batch 1, full recompute, nemo: " in layout_line(layout(recompute="full"))
    smallest = layouts("llama-2-7b", H100, **asked, tp=1, micro_batch=1, objective="memory")
    assert smallest.near_ties[:1] == smallest.layouts[:1]  # nothing is smaller than itself


def test_memory_is_certain():
    first, other = layout(), layout(micro_batch=2)
    least, expected, most = worse_by(first, other, "memory", H100)
    assert least == expected == most == other.memory_bytes / first.memory_bytes - 1


@pytest.mark.parametrize(
    ("model", "devices", "batch"), [("llama-3-70b", 64, 512), ("gpt3-175b", 64, 1536), ("mixtral-8x7b", 32, 256)]
)
def test_the_simplest_is_never_a_third_dearer(model, devices, batch):
    result = layouts(model, "h100-sxm-80gb", num_devices=devices, global_batch=batch)
    assert result.simplest.step_time_s < 1.1 * result.layouts[0].step_time_s
    assert result.ties(result.simplest)


def test_layouts_estimated_together_are_what_each_is_alone():
    asked = {"num_devices": 32, "ep": 8, "global_batch": 256, "stack": "megatron", "sharding": "zero1"}
    base = outline(train_config({**asked, "sequence_parallel": True}), MIXTRAL)
    degrees = [(1, 1, 32, 1), (2, 1, 16, 2), (2, 4, 4, 1), (4, 2, 4, 2), (8, 4, 1, 1), (1, 2, 16, 4)]
    trains = [
        msgspec.structs.replace(base, tp=tp, pp=pp, dp=dp, micro_batch=micro, num_devices=32)
        for tp, pp, dp, micro in degrees
    ]
    assert len(trains) >= ARRAY_FROM
    for each, train in zip(layouts_of(MIXTRAL, trains, H100), trains, strict=True):
        [alone] = layouts_of(MIXTRAL, [train], H100)
        assert each.train == alone.train
        for name, figure in layout_dict(alone).items():
            assert getattr(each, name) == (pytest.approx(figure, rel=1e-12) if isinstance(figure, float) else figure)

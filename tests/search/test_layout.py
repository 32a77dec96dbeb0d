"""Which layouts cannot be told apart: by the interval of their ratio, not of each."""

import msgspec
import pytest

from roofline.config.settle import outline, train_config
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.search.answer import layouts
from roofline.search.layout import ARRAY_FROM, layout_dict, layouts_of, worse_by

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

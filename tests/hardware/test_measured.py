"""Measured efficiencies: merge of device, architecture and defaults; every table names its source."""

import pytest

from roofline.hardware import HardwareError, device_ids, load_device
from roofline.hardware.database import facts
from roofline.hardware.measured import Measured, merge, range_problems
from roofline.hardware.ranges import MEASURED


def every_entry(measured: Measured) -> dict[str, object]:
    entries: dict[str, object] = {}
    for name in Measured.__struct_fields__:
        value = getattr(measured, name)
        entries |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return entries


def default_tables() -> dict[str, object]:
    import tomllib

    text = (facts() / "architectures" / "default.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["measured"]


def test_nearest_layer_wins_key_by_key():
    measured = merge(
        [
            ("default", default_tables()),
            ("architecture", {"gemm": {"cap": 0.7, "p": 3.0, "source": "a paper"}}),
            ("device", {"gemm": {"cap": 0.6, "source": "a run"}}),
        ]
    )
    assert measured.gemm.cap == 0.6
    assert measured.gemm.p == 3.0
    assert measured.gemm.origin == "device"
    assert measured.gemm.source.startswith("a run (")
    assert "a paper" in measured.gemm.source
    assert measured.gemm_fp8.origin == "default"


def test_fit_quality_is_not_inherited():
    layers = [
        ("default", default_tables()),
        ("architecture", {"gemm": {"cap": 0.7, "rows": 2000, "mape": 4.5, "source": "a paper"}}),
        ("device", {"gemm": {"cap": 0.6, "source": "a run"}}),
    ]
    assert merge(layers[:2]).gemm.rows == 2000
    assert merge(layers).gemm.rows is None
    assert merge(layers).gemm.mape is None


def test_keyed_tables_merge_by_key():
    measured = merge(
        [("default", default_tables()), ("device", {"attention": {"flash2": {"cap": 0.5, "source": "a run"}}})]
    )
    assert measured.attention["flash2"].origin == "device"
    assert measured.attention["flash1"].origin == "default"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"gemm": {"cap": 0.5}}, "measured.gemm: no source"),
        ({"gemm": {"cpa": 0.5, "source": "x"}}, "cpa"),
        ({"gemm": {"cap": "high", "source": "x"}}, "gemm.cap"),
        ({"attention": {"flash2": {"cap": 0.5}}}, "measured.attention.flash2: no source"),
        ({"gemms": {"cap": 0.5, "source": "x"}}, "gemms"),
    ],
)
def test_bad_table_is_an_error_that_names_it(table, message):
    with pytest.raises(HardwareError, match=message):
        merge([("default", default_tables()), ("device", table)])


@pytest.mark.parametrize("device_id", device_ids())
def test_every_device_has_complete_and_physical_constants(device_id):
    measured = load_device(device_id).measured
    assert set(measured.attention) == {"flash1", "flash2", "flash3", "te"}
    assert set(measured.memory_bound) == {"elementwise", "normalization", "softmax", "embedding", "optimizer"}
    assert set(measured.collective) == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"}
    for name, entry in every_entry(measured).items():
        assert entry.source, name
        assert entry.origin in {"device", "architecture", "default"}, name
    assert list(range_problems(measured, cpu=False)) == []


def test_measured_hardware_says_so_and_unmeasured_hardware_too():
    assert load_device("a100-sxm-80gb").measured.gemm.origin == "architecture"
    assert load_device("h200-sxm-141gb").measured.gemm.origin == "device"
    assert load_device("trainium2").measured.gemm.origin == "default"
    assert load_device("h100-sxm-80gb").measured.gemm.rows is not None


def test_dtype_picks_the_table():
    measured = load_device("h100-sxm-80gb").measured
    assert measured.matmul("bf16") is measured.matmul("tf32") is measured.gemm
    assert measured.matmul("int8") is measured.matmul("fp8") is measured.gemm_fp8
    assert measured.matmul("fp4") is measured.gemm_fp4
    assert measured.matmul("fp32") is measured.gemm_fp32


def test_every_measured_number_has_a_range():
    for entry in every_entry(load_device("h100-sxm-80gb").measured).values():
        for key in entry.__struct_fields__:
            assert key in MEASURED or isinstance(getattr(entry, key), str), key

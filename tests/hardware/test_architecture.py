"""Rates per unit and cycle: what the parts of one generation have to one another."""

import pytest

from roofline.hardware import architecture_ids, load_architecture

RATES = [
    (key, name, rates) for key in architecture_ids() for name, rates in load_architecture(key).flops_per_cycle.items()
]


@pytest.mark.parametrize(("key", "name", "rates"), RATES)
def test_narrower_dtypes_are_not_slower_where_an_engine_runs_them(key: str, name: str, rates) -> None:
    for wide, narrow in (("tf32", "bf16"), ("bf16", "fp8"), ("fp8", "fp4")):
        slow, fast = getattr(rates, wide), getattr(rates, narrow)
        if slow and fast:
            assert fast >= slow, (key, name, narrow)
    if rates.lanes:  # a CUDA core is one multiply-add per cycle
        assert rates.fp32 == 2 * rates.lanes, (key, name)


def test_geforce_halves_fp32_accumulation() -> None:
    for key in ("ampere-ga10x", "ada", "blackwell-rtx"):
        rates = load_architecture(key).flops_per_cycle
        assert rates["geforce"].bf16 == rates["pro"].bf16 / 2
        assert rates["geforce"].fp16_accumulate_fp16 == rates["pro"].fp16


def test_chips_without_tensor_cores() -> None:
    assert load_architecture("pascal").flops_per_cycle["gp10x"].fp16 == 256  # fp32 math
    assert load_architecture("pascal").flops_per_cycle["gp100"].fp16 == 128
    gtx16 = load_architecture("turing").flops_per_cycle["tu11x"]
    assert gtx16.fp16 == gtx16.fp32 / 8
    assert {"fp16", "bf16"} <= gtx16.notes.keys()
    assert load_architecture("gcn5").flops_per_cycle["vega10"].fp16 == 128

"""The clock under a power limit."""

import msgspec
import pytest

import roofline
from roofline.hardware import HardwareError, all_devices, load_device, override
from roofline.timing.power import clock_share


def test_a_quarter_static_and_the_cube_of_the_clock():
    h100 = load_device("h100-sxm-80gb")  # 700 W
    assert clock_share(h100) == 1
    assert clock_share(override(h100, power_limit_w=350)) == pytest.approx((0.25 / 0.75) ** (1 / 3))
    assert clock_share(override(h100, power_limit_w=100)) > 0.2  # below the static power: the lowest clock
    for limit in (700, 900):  # a board may be told to draw more than its usual limit: no peak counts on it
        device = msgspec.structs.replace(h100, power=msgspec.structs.replace(h100.power, limit_w=limit))
        assert clock_share(device) == 1


def test_a_power_limit_slows_matmuls_alone_and_is_said():
    limited = override(load_device("h100-sxm-80gb"), power_limit_w=350)
    before, after = (
        roofline.estimate("llama-3-8b", device, micro_batch=1, seq_len=2048) for device in ("h100-sxm-80gb", limited)
    )
    assert 1.1 < after.step_time_s / before.step_time_s < 1 / 0.693
    assert after.ideal_step_time_s == before.ideal_step_time_s
    assert any("350 of 700 W" in note and "assumes" in note for note in after.notes)
    assert limited.tdp_w == 350  # what a plan's energy is reckoned with
    assert after.step_time_high_s / after.step_time_low_s > before.step_time_high_s / before.step_time_low_s


@pytest.mark.parametrize("device", [d for d in all_devices() if d.power], ids=lambda device: device.id)
def test_less_power_is_never_faster(device):
    shares = [clock_share(override(device, power_limit_w=part * device.power.tdp_w)) for part in (1, 0.9, 0.6, 0.3)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1


def test_limits_that_cannot_be_are_refused():
    h100 = load_device("h100-sxm-80gb")
    with pytest.raises(HardwareError, match="above the 700 W"):
        override(h100, power_limit_w=900)
    with pytest.raises(HardwareError, match="kW"):
        override(h100, power_limit_w=35)
    without = next(device for device in all_devices() if device.power is None)
    with pytest.raises(HardwareError, match="no published default"):
        override(without, power_limit_w=100)

"""The fewest devices that meet a deadline, and what is said where none do."""

import re

from roofline.planning.plan import plan

ASKED = {"tokens": "1T", "global_batch": 8, "deadline_s": "1h"}


def test_a_batch_too_small_for_a_deadline_runs_on_the_devices_that_are_fastest():
    """More devices split eight sequences into pipelines that mostly wait."""
    found = plan("gpt2", "h100-sxm-80gb", **ASKED)
    (late,) = found.missed
    assert late.devices is None
    for devices in (4, 8, 16, 24):
        other = plan("gpt2", "h100-sxm-80gb", num_devices=devices, tokens="1T", global_batch=8)
        assert found.wall_time_s <= other.wall_time_s


def test_what_stands_in_the_way_of_a_deadline_holds_on_devices_that_are_given():
    found = plan("gpt2", "h100-sxm-80gb", num_devices=16, **ASKED)
    (late,) = found.missed
    said = re.search(
        r"\(at 100 % of peak it would take ([0-9,]+)\): the fastest found, (\d+) devices, takes ([0-9.]+) days",
        late.why,
    )
    needed, devices, days = (float(each.replace(",", "")) for each in said.groups())
    weights = 12 * 12 * 768**2 + 50257 * 768  # those that multiply a token
    flops = 6 * weights + 12 * 12 * 768 * 1024
    assert needed == -(-(flops * 1e12) // (989.4e12 * 3600))
    fastest = plan("gpt2", "h100-sxm-80gb", num_devices=int(devices), tokens="1T", global_batch=8)
    assert abs(fastest.wall_time_s / 86400 - days) < 0.006
    assert fastest.wall_time_s < found.wall_time_s

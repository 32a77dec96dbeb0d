"""Intervals: around the expected step, wider where the evidence is thinner."""

import math

import msgspec
import numpy as np
import pytest

from roofline.answers.estimate import estimate_step
from roofline.answers.times import estimate_times
from roofline.config.settle import train_config
from roofline.config.stack import load_stack, stack_names
from roofline.counting.step import build_step
from roofline.hardware import all_devices, load_device
from roofline.hardware.overrides import override
from roofline.model.load import load_model
from roofline.timing.interval import (
    EVIDENCE,
    EXPERTS,
    NETWORK,
    POWER,
    SHAPES,
    Z80,
    evidence,
    interval,
    ratio_spread,
    spread,
    variances,
)
from roofline.timing.power import clock_share
from roofline.timing.schedule import Schedule
from roofline.timing.terms import TERMS

H100 = load_device("h100-sxm-80gb")


def times_of(model="llama-3-8b", device=H100, **options):
    step = build_step(load_model(model), train_config({"stack": "megatron", **options}))
    return step, estimate_times(step, device)


def width(*args, **options):
    """Ratio of the 90th percentile to the expected step time."""
    _, times = times_of(*args, **options)
    return times.high / times.expected


@pytest.mark.parametrize("stack", stack_names())
def test_the_interval_is_symmetric_in_the_logarithm(stack):
    _, times = times_of(stack=stack)
    assert times.low < times.expected < times.high
    assert times.low * times.high == pytest.approx(times.expected**2)
    assert times.high / times.expected > math.exp(Z80 * load_stack(stack).spread)


def test_spread_by_hand():
    step, times = times_of()
    shares = [row.spread * getattr(times.schedule, term) / times.expected for term, row in TERMS.items()]
    by_hand = math.sqrt(step.stack.spread**2 + sum(share**2 for share in shares))
    assert H100.measured.gemm.origin != "default"
    assert spread(step, H100, times.schedule) == pytest.approx(by_hand)


def test_less_evidence_is_less_sure():
    assert EVIDENCE["default"] > EVIDENCE["architecture"] >= EVIDENCE["device"]
    step, times = times_of()
    guessed = next(device for device in all_devices() if device.measured.gemm.origin == "default")
    assert spread(step, guessed, times.schedule) > spread(step, H100, times.schedule)


def test_experts_low_precision_and_networks_are_less_sure():
    dense = width()
    assert width("olmoe-1b-7b") > dense
    assert width(dtype="fp8") > dense
    slow = {"num_devices": 64, "micro_batch": 1, "network_gbit_per_s": 25}
    assert width(**slow) > width(num_devices=8, micro_batch=1)


def test_a_network_that_nobody_stated_is_less_sure():
    # half the usual 400 Gbit/s is one standard deviation: the logarithm of what it makes the step longer by
    layout = {"num_devices": 64, "micro_batch": 1, "sharding": "fsdp", "stack": "torchtitan"}
    (step, assumed), (_, stated), (_, half) = (
        times_of(**layout, network_gbit_per_s=network) for network in (None, 400, 200)
    )
    assert assumed.expected == stated.expected
    weight = NETWORK * math.log(half.expected / stated.expected) / math.log(2)
    assert variances(step, H100, assumed.schedule)["network"] == pytest.approx(weight**2, rel=1e-12)
    alone = math.log(stated.high / stated.expected) / Z80
    assert math.log(assumed.high / assumed.expected) == pytest.approx(Z80 * math.hypot(alone, weight))
    assert weight > 0.01
    node, told = (times_of(**{**layout, "num_devices": 8}, network_gbit_per_s=n)[1] for n in (None, 400))
    assert node.high == told.high
    instance = load_device("p5.48xlarge")  # says its own network
    assert width(device=instance, **layout) == pytest.approx(width(device=instance, **layout, network_gbit_per_s=400))


def test_sources_that_differ_on_an_architecture_make_it_less_sure():
    layout = {"dtype": "fp16", "attention": "unfused"}
    volta = load_device("v100-sxm2-32gb")
    agreed = msgspec.structs.replace(volta, family=msgspec.structs.replace(volta.family, spread=0.0))
    wide, narrow = (math.log(width(device=device, **layout)) for device in (volta, agreed))
    assert wide == pytest.approx(math.hypot(narrow, Z80 * volta.family.spread))
    assert volta.family.spread > 0


def test_never_below_the_ideal():
    step, times = times_of()
    low, high = interval(step, H100, times.schedule, floor=0.99 * times.expected)
    assert low == 0.99 * times.expected
    assert high == times.high
    result = estimate_step(msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, spread=3.0)), H100)
    assert result.step_time_low_s == result.ideal_step_time_s


def test_arrays_have_their_own_intervals():
    _, together = times_of(micro_batch=np.array([1.0, 4.0]))
    for index, micro_batch in enumerate((1, 4)):
        _, alone = times_of(micro_batch=micro_batch)
        assert together.low[index] == pytest.approx(alone.low)
        assert together.high[index] == pytest.approx(alone.high)


def schedule_of(**terms):
    seconds = {**dict.fromkeys(TERMS, 0.0), **terms}
    return Schedule(**seconds, total=sum(seconds.values()))


def test_what_errs_alike_cancels_in_a_ratio():
    # shares 0.9 and 0.1, twice as long in all: only the shapes of kernels are left
    first, twice = schedule_of(matmul=9.0, data_parallel=1.0), schedule_of(matmul=18.0, data_parallel=2.0)
    assert ratio_spread(first, twice, H100) == pytest.approx(SHAPES * math.sqrt(2 * (0.9**2 + 0.1**2)))
    # shares 0.9, 0.1 against 0.6, 0.4: each term moves the ratio by the difference of its shares, 0.3
    other = schedule_of(matmul=9.0, data_parallel=6.0)
    shapes = SHAPES**2 * (0.9**2 + 0.1**2 + 0.6**2 + 0.4**2)
    by_hand = math.sqrt(0.3**2 * (TERMS["matmul"].spread ** 2 + TERMS["data_parallel"].spread ** 2) + shapes)
    assert ratio_spread(first, other, H100) == pytest.approx(by_hand)


def test_a_ratio_is_surer_than_either_step():
    (step, times), (_, other) = times_of(micro_batch=1), times_of(micro_batch=4)
    assert ratio_spread(times.schedule, other.schedule, H100) < spread(step, H100, times.schedule) / 2


def test_an_assumption_is_known_less_well_than_a_measurement():
    grades = {device.id: evidence(device) for device in all_devices()}
    assert set(grades.values()) == set(EVIDENCE)
    assert grades["h100-sxm-80gb"] == "architecture"
    assert grades["gb300"] == "device"
    assert grades["b300-sxm"] == "assumed"  # the fractions of GB300
    values = [EVIDENCE[grade] for grade in ("device", "architecture", "assumed", "default")]
    assert values == sorted(values)


def test_not_knowing_the_host_widens_what_goes_through_it():
    """Cards that talk through a host of unknown kind: its spread, in the shares of the step that wait for links."""
    card = load_device("rtx-4090")
    step = build_step(load_model("gpt2"), train_config({"micro_batch": 1, "num_devices": 8, "tp": 2}))
    times = estimate_times(step, card).schedule
    shares = [getattr(times, name) / times.total for name, term in TERMS.items() if term.waits == "links"]
    assert sum(share > 0 for share in shares) >= 2
    assert card.between.spread > 0
    found = variances(step, card, times)["host"]
    assert found == pytest.approx(card.between.spread**2 * sum(share * share for share in shares))
    assert variances(step, H100, times)["host"] == 0


def test_each_cause_is_its_spread_squared():
    slow = msgspec.structs.replace(override(load_device("a100-sxm-80gb"), power_limit_w=200), spread=0.2)
    step = build_step(load_model("mixtral-8x7b"), train_config({"micro_batch": 1, "seq_len": 512, "stack": "megatron"}))
    found = variances(step, slow, estimate_times(step, slow).schedule)
    assert found["software"] == pytest.approx(load_stack("megatron").spread ** 2)
    assert found["experts"] == pytest.approx(EXPERTS**2)
    assert found["evidence"] == EVIDENCE[evidence(slow)] ** 2
    lost = 1 - clock_share(slow)
    assert lost > 0.1
    assert found["device"] == pytest.approx(0.04 + slow.family.spread**2 + (POWER * lost) ** 2)
    assumed = load_device(next(each.id for each in all_devices() if evidence(each) == "assumed"))
    assert variances(step, assumed, estimate_times(step, H100).schedule)["evidence"] == pytest.approx(
        EVIDENCE["assumed"] ** 2
    )


def test_an_unknown_host_is_in_a_ratio_as_well():
    """Shares of matmuls 0.9 and 1, of gradients 0.1 and none: each differs by a tenth."""
    card = load_device("rtx-4090")
    first, other = schedule_of(matmul=9.0, data_parallel=1.0), schedule_of(matmul=10.0)
    spreads = TERMS["matmul"].spread ** 2 + TERMS["data_parallel"].spread ** 2 + card.between.spread**2
    expected = spreads * 0.1**2 + SHAPES**2 * (0.9**2 + 0.1**2 + 1)
    assert ratio_spread(first, other, card) == pytest.approx(math.sqrt(expected))


def test_only_those_of_an_array_that_cross_a_network_are_less_sure():
    step = build_step(load_model("gpt2"), train_config({"micro_batch": 1, "num_devices": np.array([8.0, 16.0])}))
    within, across = variances(step, H100, estimate_times(step, H100).schedule)["network"]
    assert within == 0 < across

"""A plan as it is read."""

import pytest

import roofline
from roofline.planning.cost import Terms
from roofline.units import format_amount
from roofline.view import plan as view

PLAN = roofline.plan(
    "gpt2", "a100-sxm-80gb", tokens="10B", num_devices=2, stack="compiled", global_batch=64, terms=Terms(price="2/h")
)

SIZES = roofline.ladder("a100-sxm-80gb", flops=10e9 * 6 * 124439808, num_devices=2)


def test_money_and_energy_in_few_digits():
    assert [format_amount(value) for value in (1234.5, 99.994)] == ["1,234", "99.99"]
    assert [view.energy(value) for value in (0.125, 12.3, 12_300)] == ["0.12 kWh", "12 kWh", "12.3 MWh"]


def test_device_hours_and_cost_follow_from_the_time():
    rows = dict(view.summary(PLAN).rows)
    hours = 2 * PLAN.wall_time_s / 3600
    assert rows["Device-hours"] == format_amount(hours)
    assert PLAN.cost == pytest.approx(2 * hours)
    assert rows["Cost"].startswith(format_amount(2 * hours))
    assert "Deadline" not in rows


def test_a_price_beside_an_instance_is_of_one_of_its_devices_and_said_so():
    words = {"tokens": "10B", "stack": "compiled", "global_batch": 64, "terms": Terms(price="24/h")}
    found = roofline.plan("gpt2", "p4d.24xlarge", num_devices=8, **words)
    assert found.cost == pytest.approx(24 * found.device_hours)
    assert any("192 for the 8 devices of the instance" in note and "--price 3." in note for note in view.notes(found))
    assert view.price_words(PLAN) == []


def test_one_step_is_one_step():
    short = roofline.plan("gpt2", "a100-sxm-80gb", tokens=65536, num_devices=2, stack="compiled", global_batch=64)
    assert dict(view.summary(short).rows)["Tokens"].endswith(": 1 step of 65,536")
    assert " steps of 65,536" in dict(view.summary(PLAN).rows)["Tokens"]


def test_ends_are_in_proportion_to_those_of_the_time():
    low, high = PLAN.wall_time_low_s / PLAN.wall_time_s, PLAN.wall_time_high_s / PLAN.wall_time_s
    assert (
        view.between(PLAN, 1000.0, format_amount)
        == f"1,000 ({format_amount(1000 * low)} to {format_amount(1000 * high)})"
    )


def test_several_plans_stand_beside_the_best():
    shown = view.several([PLAN, PLAN], ["t4: too slow"], explain=True, sizes=SIZES)
    assert shown.tables[0].title == "Devices, best first by what was asked"
    assert [table.title for table in shown.tables][2] == "The arithmetic"
    assert shown.notes[-1] == "Left out: t4: too slow."
    assert shown.tables[3].title.startswith("Sizes of plain Llama-like decoders")
    assert len(shown.records.rows) == 2


def test_nothing_fits_says_why():
    shown = view.none_fits(["too small"])
    assert (shown.data["fits"], shown.tables[0].rows) == (False, [["too small"]])

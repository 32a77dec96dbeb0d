"""The constants that no datasheet states: one table, read by the code, each with its evidence."""

from pathlib import Path

import pytest

import roofline
from roofline.config.run import TrainConfig
from roofline.constants import constant, constants
from roofline.footprint import allocator, spreads
from roofline.timing import interval, power, schedule

PACKAGE = Path(roofline.__file__).parent


@pytest.mark.parametrize("name", constants())
def test_a_constant_has_its_evidence_and_is_read(name: str) -> None:
    row = constants()[name]
    assert row.says
    assert row.source
    assert (row.evidence == "fitted") == bool(row.script)
    if row.evidence in {"fitted", "set"}:  # to data: then it is said how it does on other data, or that nobody tried
        assert row.held_out
    assert any(f'constant("{name}")' in path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))


def test_the_code_takes_the_values_from_the_table() -> None:
    assert constant("interference") == schedule.INTERFERENCE
    assert constant("static_power") == power.STATIC_POWER
    assert constant("memory_spread.alone") == spreads.ALONE
    assert constant("spread.experts") == interval.EXPERTS
    assert 2**30 * constant("context_gib") == allocator.CONTEXT_BYTES
    assert TrainConfig().imbalance == constant("expert_imbalance")

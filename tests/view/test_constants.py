"""The list of constants that no datasheet states."""

from roofline.config.stack import load_stack
from roofline.constants import constants
from roofline.timing.schedule import TERMS
from roofline.view.constants import shown


def test_every_table_of_constants_is_in_the_list_and_says_what_it_rests_on():
    (table,) = shown().tables
    rows = {row[0]: row for row in table.rows}
    assert {*constants(), *(f"spread.{term}" for term in TERMS)} <= rows.keys()
    assert {"sustained.hopper", "sustained.default"} <= rows.keys()
    assert all(evidence and says for _, _, evidence, says in table.rows)


def test_a_profiles_own_costs_are_there_as_they_are_read():
    (table,) = shown().tables
    values = {row[0]: row[1].value for row in table.rows}
    (name,) = (name for name in values if "deepspeed" in name and "efficiency" in name)
    assert values[name] == load_stack("deepspeed").efficiency

"""A measured run as it is read."""

import roofline
from roofline.view import mfu as view

RUN = {"micro_batch": 8, "stack": "compiled"}
EXPECTED = roofline.estimate("gpt2", "a100-sxm-80gb", **RUN)
SLOW = roofline.mfu("gpt2", "a100-sxm-80gb", step_time_s=2 * float(EXPECTED.step_time_s), **RUN)
AS_EXPECTED = roofline.mfu("gpt2", "a100-sxm-80gb", step_time_s=float(EXPECTED.step_time_s), **RUN)


def titles(result):
    return [table.title for table in view.tables(result)]


def test_twice_the_time_is_half_the_mfu_by_every_rule():
    slow, expected = (view.rules_table(each).rows for each in (SLOW, AS_EXPECTED))
    for half, whole in zip(slow, expected, strict=True):
        assert half[0] == whole[0]
        assert abs(2 * half[1].value - whole[1].value) < 1e-12


def test_suspects_and_what_to_measure_are_those_of_a_slow_run():
    assert {"What would explain it, best first", "What to measure next"} <= set(titles(SLOW))
    assert "What would explain it, best first" not in titles(AS_EXPECTED)
    assert len(view.tables(SLOW)[2].rows) <= view.LISTED
    assert "within" in AS_EXPECTED.verdict


def test_programs_get_the_verdict_in_words_and_the_figures_as_a_row():
    found = view.data(SLOW)
    assert found["expected_step_time_s"] == EXPECTED.step_time_s
    assert found["verdict"] == "below"
    assert found["explanation"] in dict(view.tables(SLOW)[0].rows)["MFU"]
    record = view.records(SLOW)
    assert record.rows[0][list(record.columns).index("mfu")] == SLOW.mfu

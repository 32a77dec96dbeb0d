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


def test_with_frozen_weights_the_answer_has_its_own_row_first():
    options = {"train": "qlora", "seq_len": 2048, "micro_batch": 1}
    result = roofline.mfu("llama-3-8b", "rtx-4090", step_time_s=3, **options)
    first, second, *_ = view.rules_table(result).rows
    # 4 FLOPs a frozen weight of 7.50e9 that multiplies, 6 of the 41.9e6 of adapters, and 12 L d S of attention
    flops = (4 * 7.504e9 + 6 * 41.9e6 + 12 * 32 * 4096 * 2048) * 2048
    assert abs(first[1].value / (flops / 3 / 165.2e12) - 1) < 0.005
    assert (first[0], first[1].text) == ("as counted", "13.8 %")
    assert dict(view.tables(result)[0].rows)["MFU"].startswith("13.8 %")
    assert second[0] == "6N+12LdS"


def test_the_usual_rule_is_one_row():
    rules = [row[0] for row in view.rules_table(SLOW).rows]
    assert rules[0] == "6N+12LdS" and len(rules) == len(set(rules)) == 5


def test_suspects_and_what_to_measure_are_those_of_a_slow_run():
    [explains] = [title for title in titles(SLOW) if title.startswith("What would explain it, best first")]
    assert explains.endswith("(all else as here: --global-batch 8)")
    assert "What to measure next" in titles(SLOW)
    assert not any(title.startswith("What would explain it") for title in titles(AS_EXPECTED))
    assert len(view.tables(SLOW)[2].rows) <= view.LISTED
    assert "within" in AS_EXPECTED.verdict


def test_programs_get_the_verdict_in_words_and_the_figures_as_a_row():
    found = view.data(SLOW)
    assert found["expected_step_time_s"] == EXPECTED.step_time_s
    assert found["verdict"] == "below"
    assert found["explanation"] in dict(view.tables(SLOW)[0].rows)["MFU"]
    record = view.records(SLOW)
    assert record.rows[0][list(record.columns).index("mfu")] == SLOW.mfu

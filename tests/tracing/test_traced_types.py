"""Types that are not described, traced by their classes (recorded by `trace_types.py`; no torch needed)."""

from ..records import records

TYPES = {record["type"]: record for record in records("model_types.jsonl")}
ROWS = records("traced_types.csv")


def test_most_types_that_were_tried_are_traced_and_the_others_say_why() -> None:
    traced = [row for row in ROWS if row["status"] == "traced"]
    assert len(traced) >= 0.75 * len(ROWS) > 165
    assert all(row["inputs"] for row in traced)
    assert all(row["why"] for row in ROWS if row["status"] == "built")


def test_what_is_traced_is_the_class_whose_parameters_are_known() -> None:
    for row in ROWS:
        record = TYPES[row["type"]]
        assert record["status"] == "refused"  # an analytic count needs no trace
        assert record["class"] == row["class"]

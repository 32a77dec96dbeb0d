"""One published run beside our prediction of it."""

from roofline.validation.runs import Prediction
from roofline.view import prediction as view

DONE = Prediction(
    row={"id": "paper-1"}, stack="megatron", measured=100.0, predicted=125.0, low=110.0, high=140.0, assumed=("a", "b")
)


def test_the_error_is_of_the_step_time():
    # 100 tokens/s measured and 125 predicted: the step is said to take 100 / 125 of what it did
    assert view.data(DONE)["error"] == DONE.error == 100 / 125 - 1
    row = dict(zip(view.records(DONE).columns, view.records(DONE).rows[0], strict=True))
    assert (row["id"], row["measured"], row["assumed"]) == ("paper-1", 100.0, "a; b")


def test_a_row_left_out_has_a_reason_and_no_error():
    skipped = Prediction(row={"id": "x"}, measured=1.0, skipped_reason="no")
    assert view.data(skipped)["error"] is None
    assert dict(view.tables(skipped)[0].rows)["skipped_reason"] == "no"
    assert len(view.records_of([DONE, skipped]).rows) == 2

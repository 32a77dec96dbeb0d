"""What a picture of the passes shows, in words."""

from types import SimpleNamespace
from typing import Any

from roofline.view.passes import shown_words


def shown(**fields: Any) -> Any:
    return SimpleNamespace(**{"of": 8, "micro_batches": 8, "seconds": 2.0, "devices": 4, "schedule": "1f1b", **fields})


def test_all_of_a_step_and_where_it_ends_if_that_is_elsewhere() -> None:
    assert shown_words(shown(), 2.0).startswith("All of a step of 8 micro batches, in the order that the rules of")
    assert "it ends after 2 s, where the estimate is 3 s" in shown_words(shown(), 3.0)
    assert shown_words(shown(of=1, micro_batches=1, devices=1), 2.0).startswith("All of a step of 1 micro batch. ")


def test_the_first_of_many() -> None:
    assert shown_words(shown(of=1024), 9.0).startswith("The first 8 of 1,024 micro batches, whose pattern repeats")

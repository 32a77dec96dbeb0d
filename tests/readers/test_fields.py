"""What files say, as options: whole numbers, and the fields that the configuration has."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.readers.fields import NUMBERS, STANDS_FOR, numbers, present


def test_counts_may_be_written_as_people_do_and_that_is_said() -> None:
    said, notes = numbers({"seq_len": "4k", "micro_batch": 2.0, "dp": None, "sharding": "fsdp"}, "run.yaml")
    assert said == {"seq_len": 4096, "micro_batch": 2, "dp": None, "sharding": "fsdp"}
    assert type(said["micro_batch"]) is int
    assert notes == ["seq_len is written '4k': read as 4,096"]


@pytest.mark.parametrize("value", [0, -1, 2.5, True, [2], float("nan"), float("inf")])
def test_what_is_no_count_names_file_field_and_option(value: Any) -> None:
    with pytest.raises(RooflineError, match=r"^run\.yaml: micro_batch: .*: mend the file, or give --micro-batch$"):
        numbers({"micro_batch": value}, "run.yaml")


def test_only_options_are_passed_on() -> None:
    said = {"etp": 2, "schedule": "zb-h1", "accumulation": 4, "optimizer_detail": "x", "cp": None}
    assert present(said) == ({"etp": 2, "schedule": "zb-h1"}, [])


def test_a_fused_loss_is_a_fusion() -> None:
    assert present({"fused_loss": "linear"}) == ({"fused": ("linear_cross_entropy",)}, [])
    assert present({"fused_loss": "none"}) == ({}, [])


def test_an_optimizer_that_is_not_modelled_is_refused() -> None:
    with pytest.raises(RooflineError, match="^optimizer lomo is not modelled"):
        present({"optimizer": "lomo"})


def test_counts_are_options_or_stand_for_one() -> None:
    assert {STANDS_FOR.get(name, name) for name in NUMBERS} <= set(TrainConfig.__struct_fields__)

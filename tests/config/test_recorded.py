"""A traced module runs as it was traced: only how often is open."""

from typing import Any

import pytest

from roofline.config.recorded import as_recorded, check_recorded
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError


def test_one_pass_is_one_sequence_of_one_token_and_what_is_said_stands() -> None:
    found = as_recorded({"num_devices": 8, "stack": "compiled"})
    assert {found[name] for name in ("seq_len", "micro_batch", "tp", "pp", "vp", "cp", "ep")} == {1}
    assert (found["num_devices"], found["stack"]) == (8, "compiled")
    assert as_recorded({})["stack"] == "eager"


def train(**fields: Any) -> TrainConfig:
    return TrainConfig(**{**as_recorded({"global_batch": 4, "dp": 1, "num_devices": 1}), **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tp": 2}, r"^--tp does not apply to a traced module"),
        ({"seq_len": 8}, r"^--seq-len does not apply"),
        ({"recompute": "full"}, r"^--recompute does not apply"),
        ({"lora_rank": 8}, r"^--lora-rank does not apply"),
        ({"freeze": ("embeddings",)}, r"^--freeze does not apply"),
        ({"optimizer": "muon"}, r"^optimizer muon updates matrices"),
    ],
)
def test_what_shapes_a_transformer_is_refused(fields: dict[str, Any], message: str) -> None:
    check_recorded(train())
    with pytest.raises(RooflineError, match=message):
        check_recorded(train(**fields))

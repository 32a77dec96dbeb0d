"""Every model type of transformers, its default configuration against the class that it builds (recorded)."""

from collections import Counter
from typing import Any

import pytest

from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters

from ..records import records

RECORDS = records("model_types.jsonl")
COUNTED = [record for record in RECORDS if record["status"] == "exact"]
NAMED = ("clip", "deberta-v2", "esm", "qwen3_omni_moe_text", "siglip", "wav2vec2")


@pytest.mark.parametrize("record", COUNTED, ids=[record["type"] for record in COUNTED])
def test_parameters_are_those_that_transformers_builds(record: dict[str, Any]) -> None:
    counted = count_parameters(model_from_config(record["config"], record["type"]))
    headless = record["class"].endswith("TextModel")
    assert counted.total - headless * counted.head == record["parameters"]


def test_so_many_types_are_exact_and_few_differ() -> None:
    found = Counter(record["status"] for record in RECORDS)
    assert found["exact"] >= 338
    assert found["differs"] <= 16
    served = [record for record in RECORDS if "ours" in record or "parameters" in record]  # analytic, or by its class
    assert len(served) >= 800


def test_the_types_that_people_asked_for_are_exact() -> None:
    assert set(NAMED) <= {record["type"] for record in COUNTED}

"""Fields that a config leaves out are those of its class in transformers, whose default configurations are recorded."""

from typing import Any

import msgspec
import pytest

from roofline.model.family import class_defaults, known_types, not_null, recognised_fields
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.spec import ModelConfig

from ..records import records

RECORDS = [
    record
    for record in records("transformers_counts.jsonl")
    if not record["name"].startswith("preset ") and class_defaults(record["name"])
]


def cost(model: ModelConfig) -> ModelConfig:
    """The model without the words about it."""
    return msgspec.structs.replace(model, assumptions=(), max_seq_len=None)


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_a_default_that_is_left_out_changes_nothing(record: dict[str, Any]) -> None:
    usual, config = class_defaults(record["name"]), record["config"]
    full = cost(model_from_config(config))
    without = {key: value for key, value in config.items() if key not in usual or usual[key] != value}
    assert cost(model_from_config(without)) == full


def test_most_types_take_something_for_what_is_left_out() -> None:
    assert len(RECORDS) > 100


MISTRAL = {  # mistralai/Mistral-7B-v0.1: 7,241,732,096 parameters in its checkpoint
    "model_type": "mistral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}


def test_a_field_that_is_left_out_is_said_and_counted_as_its_class_has_it() -> None:
    model = model_from_config(MISTRAL)
    assert count_parameters(model).total == 7_241_732_096
    assert any("num_key_value_heads is not stated: assumes 8" in sentence for sentence in model.assumptions)


def test_a_null_is_no_field_that_is_left_out() -> None:
    """Mistral-7B-v0.3 states `sliding_window: null`: no window, where the class would have one of 4096."""
    (group,) = model_from_config({**MISTRAL, "sliding_window": None}).groups
    assert group.attention is not None
    assert group.attention.window is None
    (group,) = model_from_config(MISTRAL).groups
    assert group.attention is not None
    assert group.attention.window == 4096


class NullEverywhere(frozenset[str]):
    """Whatever field is asked about is null."""

    def __contains__(self, field: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


def test_fields_that_must_not_be_null_are_read() -> None:
    for model_type in known_types():
        table = not_null(model_type, NullEverywhere())
        assert set(table) <= recognised_fields(model_type), model_type
    assert not_null("llama", ["hidden_act", "head_dim"]) == ["hidden_act"]
    assert not_null("no_such_type", ["hidden_act"]) == []

"""What a layer's matrices add up to, against the closed forms and against the weights of a step's ops."""

from typing import Any

import pytest

from roofline.counting.mfu import matmul_weights
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model, model_from_flat
from roofline.model.parameters import count_parameters
from roofline.model.presets import model_ids
from roofline.model.projections import layer_projections, model_projections
from roofline.model.spec import ModelConfig
from roofline.model.tensors import kernels

from ..records import records
from . import closed_forms

RECORDS = records("transformers_counts.jsonl")
TINY = {"n_layers": 3, "d_model": 8, "n_heads": 4, "n_kv_heads": 2, "d_ff": 20, "vocab_size": 11, "gated_mlp": True}


def check(model: ModelConfig) -> None:
    parameters = count_parameters(model)
    assert parameters.total == closed_forms.total(model)
    assert parameters.active == closed_forms.active(model)
    met = sum(p.met for p in model_projections(model))
    for group in model.groups:
        met += group.count * sum(p.met for p in layer_projections(group, model.d_model) if p.block != "indexer")
    assert met == matmul_weights(model)


@pytest.mark.parametrize("model_id", model_ids())
def test_a_preset_has_the_parameters_of_the_closed_forms(model_id: str) -> None:
    check(load_model(model_id))


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_a_config_has_the_parameters_of_the_closed_forms(record: dict[str, Any]) -> None:
    check(model_from_config(record["config"]))


def shapes(**changes: object) -> dict[str, tuple[int, int, int]]:
    (group,) = model_from_flat({**TINY, **changes}).groups
    return {p.name: (p.d_in, p.d_out, p.count) for p in layer_projections(group, 8)}


def test_the_matrices_of_a_gated_layer_by_hand() -> None:
    # 4 query heads and 2 key-value heads of 2
    assert shapes() == {
        "attention.q": (8, 8, 1),
        "attention.k": (8, 4, 1),
        "attention.v": (8, 4, 1),
        "attention.out": (8, 8, 1),
        "mlp.gate": (8, 20, 1),
        "mlp.up": (8, 20, 1),
        "mlp.down": (20, 8, 1),
    }


def test_one_matmul_runs_what_reads_one_input() -> None:
    (group,) = model_from_flat({**TINY, "n_experts": 6, "experts_per_token": 2, "n_shared_experts": 1}).groups
    names = [[p.part for p in parts] for parts in kernels(layer_projections(group, 8))]
    assert names == [["q", "k", "v"], ["out"], ["router"], ["gate", "up"], ["down"], ["gate", "up"], ["down"]]


def test_only_one_of_two_branches_of_values_and_keys_where_they_are_the_same() -> None:
    assert "attention.v" not in shapes(value_is_key=True)
    assert {"attention.k", "attention.v"}.isdisjoint(shapes(reuses_kv=True))

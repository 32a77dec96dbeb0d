"""Parameters that a device holds, and how many bytes they take."""

from typing import Any

import msgspec
import numpy as np
import pytest

from roofline.config.run import TrainConfig
from roofline.counting.ownership import (
    Shares,
    Update,
    expert_ranks,
    expert_shard_degree,
    parameter_shares,
    shard_degree,
    shard_ranks,
    stage_shares,
    updates_of,
)
from roofline.counting.weights import Matrices, Weights
from roofline.model.load import model_from_flat


def test_parameters_in_few_bits_are_kept_as_they_are() -> None:
    shares = Shares(
        dense=100, expert=40, trainable_dense=20, trainable_expert=0,
        quantised_dense=80, quantised_dense_bytes=50, expert_8bit=10,
    )  # fmt: skip
    assert (shares.total, shares.trainable) == (140, 20)
    # 20 of 2 bytes and 80 in 50 bytes; 30 of 2 bytes and 10 of one
    assert shares.stored(2) == (90, 70)
    both = Shares(
        dense=100, expert=60, trainable_dense=20, trainable_expert=20, quantised_dense=80, quantised_dense_bytes=50,
        quantised_expert=40, quantised_expert_bytes=10, dense_8bit=10, expert_8bit=15,
    )  # fmt: skip
    # 80 and 40 in 50 and 10 bytes; of the 20 others of each 10 and 15 of one byte, the rest of 4
    assert both.stored(4) == (50 + 10 * 4 + 10, 10 + 5 * 4 + 15)


def weight(**fields: object) -> Weights:
    plain = {"name": "w", "part": "layer", "local": 110, "count": 1, "trainable": True, "expert": False}
    return Weights(**{**plain, "matrices": (Matrices(10, 10, 1),), **fields})  # type: ignore[arg-type]


def train(optimizer: str) -> TrainConfig:
    return TrainConfig(micro_batch=1, seq_len=8, optimizer=optimizer)


def test_adam_keeps_two_moments_in_fp32_of_everything() -> None:
    assert list(updates_of(weight(), train("adamw"))) == [("adamw", 110, 110 * 8)]


def test_muon_takes_hidden_matrices_with_one_moment_and_leaves_the_rest_to_adam() -> None:
    # arXiv:2502.16982: momentum alone for matrices; vectors, embeddings and head by AdamW
    assert list(updates_of(weight(), train("muon"))) == [("muon", 100, 100 * 4), ("adamw", 10, 10 * 8)]
    assert list(updates_of(weight(part="embedding"), train("muon"))) == [("adamw", 110, 110 * 8)]


@pytest.mark.parametrize(("stack", "each"), [("hf-trainer", 4), ("torchtune", 1 + 4 / 256)])
@pytest.mark.parametrize(("name", "moments"), [("adamw-8bit", 2), ("adamw-8bit-paged", 2), ("lion-8bit", 1)])
def test_moments_of_tables_stay_wide_where_the_trainer_says_so(
    name: str, moments: int, stack: str, each: float
) -> None:
    # transformers' create_optimizer registers nn.Embedding with optim_bits 32; heads and layers have 8 bits
    here = msgspec.structs.replace(train(name), stack=stack)
    for part, size in (("embedding", each), ("head", 1 + 4 / 256), ("layer", 1 + 4 / 256)):
        assert list(updates_of(weight(part=part, local=8192), here)) == [(name, 8192, 8192 * moments * size)], part
    sliced = msgspec.structs.replace(here, sharding="zero2", dp=2)  # DeepSpeed flattens: no tensor is the table
    assert [state for *_, state in updates_of(weight(part="embedding", local=8192), sliced)] == [
        8192 * moments * (1 + 4 / 256)
    ]


LAYERS = 4
MODEL = model_from_flat({"name": "m", "n_layers": LAYERS, "d_model": 8, "n_heads": 2, "d_ff": 16, "vocab_size": 10})
OF_LAYERS = [
    weight(count=LAYERS, low_precision=True),
    weight(count=LAYERS, local=60, matrices=(), expert=True, low_precision=True),
    weight(count=LAYERS, local=80, matrices=(), trainable=False, stored_bytes=0.5, low_precision=True),
    weight(count=LAYERS, local=40, matrices=(), trainable=False, stored_bytes=0.25, expert=True),
    weight(count=LAYERS, local=7, matrices=(), trainable=False),
    weight(count=LAYERS, local=3, matrices=(), trainable=False, expert=True),
]
EMBEDDING = weight(part="embedding", local=1000)


def pipeline(pp: Any, optimizer: str = "adamw", weight_dtype: str | None = "fp8") -> TrainConfig:
    split: dict[str, Any] = {"pp": pp, "vp": 1, "pp_layout": "even", "schedule": "1f1b"}
    return TrainConfig(micro_batch=1, seq_len=8, optimizer=optimizer, weight_dtype=weight_dtype, **split)


def test_what_a_stage_holds_of_each_kind() -> None:
    (_, held), *others = stage_shares(MODEL, pipeline(1), [*OF_LAYERS, EMBEDDING])
    assert not others
    assert held == Shares(
        dense=4 * (110 + 80 + 7) + 1000,
        expert=4 * (60 + 40 + 3),
        trainable_dense=4 * 110 + 1000,
        trainable_expert=4 * 60,
        dense_8bit=4 * 110,
        expert_8bit=4 * 60,
        quantised_dense=4 * 80,
        quantised_expert=4 * 40,
        quantised_dense_bytes=4 * 40,
        quantised_expert_bytes=4 * 10,
        updates=(Update(optimizer="adamw", dense=1440, expert=240, dense_state=1440 * 8, expert_state=240 * 8),),
    )
    (_, whole), *_ = stage_shares(MODEL, pipeline(1, weight_dtype=None), [*OF_LAYERS, EMBEDDING])
    assert whole == msgspec.structs.replace(held, dense_8bit=0, expert_8bit=0)


def test_a_tied_head_is_held_once_more_where_it_lies_on_another_stage() -> None:
    tied = weight(part="head", local=1000, tied=True)
    untied = weight(part="head", local=1000)

    def dense(pp: int, head: Weights) -> list[int]:
        return [held.dense for _, held in stage_shares(MODEL, pipeline(pp), [*OF_LAYERS, EMBEDDING, head])]

    layers = 110 + 80 + 7
    assert dense(1, tied) == [4 * layers + 1000]
    assert dense(1, untied) == [4 * layers + 2000]
    assert dense(2, tied) == dense(2, untied) == [2 * layers + 1000] * 2


def test_each_optimizer_has_its_part_of_a_stage() -> None:
    (_, held), *_ = stage_shares(MODEL, pipeline(1, "muon"), [*OF_LAYERS, EMBEDDING])
    assert held.updates == (
        Update(optimizer="muon", dense=4 * 100, expert=0, dense_state=4 * 100 * 4, expert_state=0),
        Update(optimizer="adamw", dense=4 * 10 + 1000, expert=240, dense_state=1040 * 8, expert_state=240 * 8),
    )


def test_the_fullest_stage_in_arrays_is_that_of_each_number() -> None:
    head = weight(part="head", local=np.array([3000, 3000, 500]))
    pp = np.array([1, 2, 2])  # the last of two stages, then the first
    together = parameter_shares(MODEL, pipeline(pp, "muon"), [*OF_LAYERS, EMBEDDING, head])
    assert together.dense.tolist() == [4 * 197 + 4000, 2 * 197 + 3000, 2 * 197 + 1000]
    for place in range(3):
        one = [*OF_LAYERS, EMBEDDING, weight(part="head", local=int(head.local[place]))]
        alone = parameter_shares(MODEL, pipeline(int(pp[place]), "muon"), one)
        for name in set(Shares.__struct_fields__) - {"updates"}:
            assert np.broadcast_to(getattr(together, name), 3)[place] == getattr(alone, name)
        for update, single in zip(together.updates, alone.updates, strict=True):
            assert update.optimizer == single.optimizer
            for name in Update.__struct_fields__[1:]:
                assert np.broadcast_to(getattr(update, name), 3)[place] == getattr(single, name)


def test_who_shares_what() -> None:
    """16 devices, tp 2, cp 2: 4 replicas; experts of ep 4 and etp 2 have 16 / 8 ranks each."""
    split = TrainConfig(micro_batch=1, seq_len=8, num_devices=16, tp=2, cp=2, dp=4, ep=4, etp=2)
    assert (shard_ranks(split), shard_degree(split), expert_ranks(split)) == (8, 8, 2)
    assert Shares(dense=9, expert=5, trainable_dense=7, trainable_expert=3).trainable == 10


@pytest.mark.parametrize("sharding", ["hzero1", "hsdp"])
@pytest.mark.parametrize(
    ("devices", "tp", "node", "degree"),
    [
        (32, 2, 8, 4),  # of 16 ranks those of one node
        (12, 2, 8, 6),  # 6 ranks do not divide into nodes of 4: sharded as one
        (4, 2, 8, 2),  # fewer ranks than a node has room for
        (32, 16, 8, 1),  # a rank is larger than a node
        (32, 2, None, 4),  # assumes nodes of 8
    ],
)
def test_hybrids_shard_within_a_node(devices: int, tp: int, node: int | None, degree: int, sharding: str) -> None:
    split: dict[str, Any] = {"num_devices": devices, "tp": tp, "dp": devices // tp, "devices_per_node": node}
    run = TrainConfig(micro_batch=1, seq_len=8, sharding=sharding, **split)
    assert shard_degree(run) == degree


@pytest.mark.parametrize(
    ("ep", "dense", "experts"),
    [
        (8, 16, 2),  # 64 ranks in 4 replicas of 16: of the 8 that hold the same experts 2 are in one replica
        (32, 16, 2),  # experts lie across replicas: the 2 that hold the same ones share them
    ],
)
def test_a_replica_is_as_large_as_it_is_said_to_be(ep: int, dense: int, experts: int) -> None:
    run = TrainConfig(micro_batch=1, seq_len=8, num_devices=64, dp=64, ep=ep, etp=1, sharding="hsdp", dp_shard=16)
    assert (shard_degree(run), expert_shard_degree(run)) == (dense, experts)
    whole = msgspec.structs.replace(run, sharding="fsdp", dp_shard=None)
    assert (shard_degree(whole), expert_shard_degree(whole)) == (64, 64 // ep)

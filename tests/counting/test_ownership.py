"""Parameters that a device holds, and how many bytes they take."""

from __future__ import annotations

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.ownership import Shares, expert_ranks, shard_degree, shard_ranks, updates_of
from roofline.counting.weights import Matrices, Weights


def test_parameters_in_few_bits_are_kept_as_they_are() -> None:
    shares = Shares(
        dense=100, expert=40, trainable_dense=20, trainable_expert=0,
        quantised_dense=80, quantised_dense_bytes=50, expert_8bit=10,
    )  # fmt: skip
    assert (shares.total, shares.trainable) == (140, 20)
    # 20 of 2 bytes and 80 in 50 bytes; 30 of 2 bytes and 10 of one
    assert shares.stored(2) == (90, 70)


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


def test_who_shares_what() -> None:
    """16 devices, tp 2, cp 2: 4 replicas; experts of ep 4 and etp 2 have 16 / 8 ranks each."""
    split = TrainConfig(micro_batch=1, seq_len=8, num_devices=16, tp=2, cp=2, dp=4, ep=4, etp=2)
    assert (shard_ranks(split), shard_degree(split), expert_ranks(split)) == (8, 8, 2)
    assert Shares(dense=9, expert=5, trainable_dense=7, trainable_expert=3).trainable == 10


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
def test_hsdp_shards_within_a_node(devices: int, tp: int, node: int | None, degree: int) -> None:
    split: dict[str, Any] = {"num_devices": devices, "tp": tp, "dp": devices // tp, "devices_per_node": node}
    run = TrainConfig(micro_batch=1, seq_len=8, sharding="hsdp", **split)
    assert shard_degree(run) == degree

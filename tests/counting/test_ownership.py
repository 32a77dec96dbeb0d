"""Parameters that a device holds, and how many bytes they take."""

from __future__ import annotations

from roofline.config.run import TrainConfig
from roofline.counting.ownership import Shares, updates_of
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

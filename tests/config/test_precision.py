"""What is kept in a dtype of its own: bytes by hand, and what contradicts the rest."""

import pytest

import roofline
from roofline.config.settle import settle
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.footprint.parts import memory_for

from ..small import small

MODEL = small(
    n_layers=4,
    d_model=128,
    n_heads=4,
    d_ff=512,
    vocab_size=1024,
    max_seq_len=256,
    norm="rms",
    biases=False,
    rotary=True,
)
LINEAR = 4 * (4 * 128 * 128 + 3 * 128 * 512)  # of the layers: they train in low precision
TOTAL = LINEAR + 2 * 1024 * 128 + 4 * 2 * 128 + 128  # embedding, head, norms


def step_of(**options):
    given = {"stack": "nemo", "seq_len": 128, "num_devices": 4, **options}
    run = settle(MODEL, None, given)
    return build_step(run.model, run.train)


def memory(**options):
    return memory_for(step_of(**options), 0)


@pytest.mark.parametrize(
    ("options", "per_parameter"),
    [
        ({}, 12 / 4),  # Megatron-LM docs, dist_optimizer: 6 + 12/d with 16-bit gradients: masters and two moments
        ({"moment_dtype": "bf16"}, 8 / 4),
        ({"moment_dtype": "fp8,bf16"}, 7 / 4),
        ({"moment_dtype": "fp8", "master_dtype": "fp16"}, 4 / 4),
        ({"master_dtype": "split"}, 10 / 4),
        ({"moment_dtype": ["bf16", "bf16"], "master_dtype": "split"}, 6 / 4),
    ],
)
def test_optimizer_state(options, per_parameter):
    assert memory(**options).optimizer_bytes == pytest.approx(per_parameter * TOTAL)


def test_gradients_follow_what_is_said():
    assert memory().gradients_bytes == 2 * TOTAL  # the usual of the stack
    assert memory(gradient_dtype="fp32").gradients_bytes == 4 * TOTAL
    sent = [
        next(op for op in step_of(gradient_dtype=dtype).ops if op.name.startswith("gradients."))
        for dtype in ("fp32", "bf16")
    ]
    assert sent[0].bytes_sent * sent[0].count == pytest.approx(2 * sent[1].bytes_sent * sent[1].count)


@pytest.mark.parametrize(
    ("options", "per_parameter"),
    [
        # Transformer Engine FusedAdam: read gradient 2, master, moments; write master, moments, weight 2
        ({}, (2 + 4 + 8) + (4 + 8 + 2)),
        ({"moment_dtype": "bf16"}, (2 + 4 + 4) + (4 + 4 + 2)),
        ({"master_dtype": "split"}, (2 + 2 + 2 + 8) + (2 + 2 + 8)),
        ({"moment_dtype": "fp8", "master_dtype": "fp16"}, (2 + 2 + 2) + (2 + 2 + 2)),
    ],
)
def test_bytes_of_an_update(options, per_parameter):
    update = next(op for op in step_of(**options).ops if op.kind == "optimizer" and op.name == "optimizer.adamw")
    assert update.bytes == pytest.approx(per_parameter * TOTAL / 4)


def test_primary_weights_are_the_linear_layers():
    low, usual = memory(dtype="fp8", weight_dtype="fp8"), memory(dtype="fp8")
    assert usual.weights_bytes - low.weights_bytes == LINEAR
    gathered = [
        next(op for op in step_of(dtype="fp8", weight_dtype=word).ops if op.name == "parameters.all_gather")
        for word in ("fp8", None)
    ]
    assert gathered[1].bytes_sent * gathered[1].count - gathered[0].bytes_sent * gathered[0].count == LINEAR


def test_saved_activations_are_those_of_the_activation_function():
    low, usual = memory(saved_dtype="fp8", micro_batch=2), memory(micro_batch=2)
    # gate and up of each token and layer, a byte less
    assert usual.phases[0].activations - low.phases[0].activations == 2 * 128 * 4 * 2 * 512


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "adamw-8bit", "moment_dtype": "bf16", "sharding": "none"}, "format of their own"),
        ({"optimizer": "lion", "moment_dtype": "bf16,fp8", "stack": "fsdp"}, "keeps 1 moments: give one dtype"),
        ({"optimizer": "sgd", "moment_dtype": "bf16", "stack": "fsdp"}, "which keeps no moments: leave it out"),
        ({"moment_dtype": "bf16", "sharding": "none"}, "nemo refuses .* distributed optimizer: use --sharding zero1"),
        ({"moment_dtype": "bf16", "optimizer": "lion"}, "nemo refuses .* not AdamW"),
        ({"moment_dtype": "bf17"}, "unknown moment dtype 'bf17': did you mean 'bf16'"),
        ({"master_dtype": "fp16", "master_weights": False}, "--no-master-weights keeps no copies"),
        ({"master_dtype": "fp16", "stack": "compiled"}, "keeps the weights themselves in fp32"),
        ({"master_dtype": "split", "dtype": "fp16"}, "dtype is fp16"),
        ({"weight_dtype": "fp8"}, "add --dtype fp8"),
        ({"saved_dtype": "fp8", "dtype": "fp32", "stack": "fsdp"}, "for 16-bit activations"),
    ],
)
def test_what_contradicts_is_named(options, words):
    with pytest.raises(RooflineError, match=words):
        step_of(**options)


def test_the_method_names_what_is_kept_otherwise():
    table = roofline.memory(
        "gpt2", stack="megatron", num_devices=8, moment_dtype="fp8,bf16", gradient_dtype="bf16"
    ).tables()[0]
    method = next(str(row[1]) for row in table.rows if row[0] == "Method")
    assert "moments in fp8 and bf16, gradients in bf16" in method

"""The update of optimizers that depend on shapes: FLOPs, bytes and collectives by hand."""

import numpy as np
import pytest

import roofline
from roofline.config.settle import train_config
from roofline.counting.ownership import parameter_shares
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat
from roofline.model.parameters import count_parameters

from ..small import flat

FLAT = flat(
    n_layers=4, d_model=24, n_heads=4, d_ff=36, vocab_size=70, n_kv_heads=2, norm="rms", biases=False, rotary=True
)
SMALL = model_from_flat(FLAT)
EXPERTS = model_from_flat({**FLAT, "n_experts": 8, "experts_per_token": 2})
# q and o 24 x 24, k and v 24 x 12, gate, up and down 24 x 36: (m, n, number) in a layer
SHAPES = [(24, 24, 2), (12, 24, 2), (24, 36, 3)]
MATRICES = 4 * sum(m * n * number for m, n, number in SHAPES)
NEWTON_SCHULZ = 4 * sum(number * (20 * m**2 * n + 10 * m**3) for m, n, number in SHAPES)


def step_of(model=SMALL, **options):
    return build_step(model, train_config({"stack": "compiled", "seq_len": 32, "optimizer": "muon", **options}))


def products(step):
    return [op for op in step.ops if op.phase == "optimizer" and op.kind == "matmul"]


def flops(step):
    return sum(op.flops * op.count for op in products(step))


def test_newton_schulz_by_hand():
    assert flops(step_of()) == pytest.approx(NEWTON_SCHULZ)
    assert flops(step_of(optimizer="adamw")) == 0


def test_a_sharded_optimizer_deals_matrices_out_one_at_the_least():
    # 28 matrices: 4 ranks hold 7 each, 64 ranks no less than one
    assert flops(step_of(num_devices=4)) == pytest.approx(NEWTON_SCHULZ)
    assert flops(step_of(num_devices=4, sharding="zero1")) == pytest.approx(NEWTON_SCHULZ / 4)
    assert flops(step_of(num_devices=64, sharding="zero1")) == pytest.approx(NEWTON_SCHULZ / 28)


def test_tensor_parallel_slices_are_orthogonalised_as_they_are():
    # tp 2 halves a side of every matrix: 12 x 24, 6 x 24, 18 x 24
    shapes = [(12, 24, 2), (6, 24, 2), (18, 24, 3)]
    expected = 4 * sum(number * (20 * m**2 * n + 10 * m**3) for m, n, number in shapes)
    assert flops(step_of(tp=2)) == pytest.approx(expected)


def test_a_pipeline_stage_updates_its_own():
    assert flops(step_of(pp=2, stack="nemo")) == pytest.approx(NEWTON_SCHULZ / 2)


def test_experts_are_matrices_of_their_own():
    router = 4 * (20 * 8**2 * 24 + 10 * 8**3)
    attention = 4 * sum(number * (20 * m**2 * n + 10 * m**3) for m, n, number in SHAPES[:2])
    experts = 4 * 8 * 3 * (20 * 24**2 * 36 + 10 * 24**3)
    assert flops(step_of(EXPERTS)) == pytest.approx(attention + router + experts)
    spread = step_of(EXPERTS, num_devices=4, ep=4)
    assert flops(spread) == pytest.approx(attention + router + experts / 4)


def test_embeddings_head_and_norms_are_left_to_adamw():
    step = step_of()
    muon, rest = parameter_shares(SMALL, step.train, step.weights).updates
    assert (muon.optimizer, rest.optimizer) == ("muon", "adamw")
    assert muon.dense == MATRICES
    assert rest.dense == count_parameters(SMALL).total - MATRICES
    assert (muon.dense_state, rest.dense_state) == (4 * muon.dense, 8 * rest.dense)
    updates = {op.name: op for op in step.ops if op.kind == "optimizer"}
    assert updates["optimizer.adamw"].bytes == 28 * rest.dense  # fused: 16 read, 12 written
    assert updates["optimizer.muon"].bytes == pytest.approx(5.2 * 20 * muon.dense)


def test_whole_matrices_are_reduced_everywhere_or_gathered():
    collectives = {
        sharding: {op.name: op for op in step_of(num_devices=4, sharding=sharding).ops if op.group == "dp"}
        for sharding in ("zero1", "zero2")
    }
    assert "gradients.all_reduce" in collectives["zero1"]  # not scattered: each rank needs whole gradients
    gathered = collectives["zero2"]["update.all_gather"]
    assert gathered.bytes_sent == 2 * MATRICES and gathered.role == "update"


def test_adapters_are_hidden_matrices_too():
    step = step_of(train="lora", lora_rank=4)
    (muon, rest) = parameter_shares(SMALL, step.train, step.weights).updates
    assert muon.dense > 0 and rest.dense == 0


@pytest.mark.parametrize("name", ["muon", "soap", "galore", "adafactor", "adamw-8bit"])
def test_arrays_of_layouts_equal_one_by_one(name):
    numpy = pytest.importorskip("numpy")
    degrees = {"tp": [1, 2, 2], "pp": [1, 1, 2], "num_devices": [8, 8, 8]}
    options = {"optimizer": name, "stack": "compiled", "micro_batch": 1, "seq_len": 512, "sharding": "zero1"}
    together = roofline.estimate("gpt2", "h100-sxm-80gb", global_batch=16, **options, **degrees)
    for place in range(3):
        one = {key: values[place] for key, values in degrees.items()}
        alone = roofline.estimate("gpt2", "h100-sxm-80gb", global_batch=16, **options, **one)
        assert alone.step_time_s == pytest.approx(numpy.asarray(together.step_time_s)[place])
        assert alone.memory.optimizer_bytes == pytest.approx(numpy.asarray(together.memory.optimizer_bytes)[place])


def test_its_products_are_time_of_the_optimizer_and_no_model_flops():
    base = {"micro_batch": 1, "seq_len": 1024, "stack": "compiled"}
    adamw, muon = (roofline.estimate("gpt2-xl", "h100-sxm-80gb", optimizer=each, **base) for each in ("adamw", "muon"))
    assert muon.schedule.optimizer > adamw.schedule.optimizer
    assert muon.hardware_flops_per_step == adamw.hardware_flops_per_step
    shared = muon.schedule.total - adamw.schedule.total
    assert shared == pytest.approx(muon.schedule.optimizer - adamw.schedule.optimizer)


def test_json_has_the_coarse_word_and_the_detail():
    train = roofline.memory("gpt2", optimizer="adamw-8bit-paged").to_dict()["train"]
    assert (train["optimizer"], train["optimizer_detail"]) == ("adamw-8bit", "adamw-8bit-paged")


def test_data_parallelism_gathers_layers_as_they_were_cast():
    def gathered(dtype, stack="nemo"):
        ops = step_of(optimizer="adamw", dtype=dtype, stack=stack, sharding="zero1", num_devices=2, dp=2).ops
        return next(op.bytes_sent * op.count for op in ops if op.name == "parameters.all_gather")

    weights = step_of(stack="nemo").weights
    in_layers = sum(weight.local * weight.count for weight in weights if weight.part == "layer")
    assert gathered("bf16") - gathered("fp8") == pytest.approx(in_layers)  # 2 bytes to 1
    assert gathered("mxfp8") == gathered("bf16")  # rows and columns are cast from 16 bits, after the gather
    assert gathered("fp8", stack="deepspeed") == gathered("bf16", stack="deepspeed")


def test_owners_of_whole_matrices_broadcast_them_one_after_another():
    # 7 matrices in each of 4 layers, embedding and head: 30; 8 ranks send what they own together
    def shared(devices, sharding="zero1"):
        step = step_of(stack="internevo", optimizer="adamw", num_devices=devices, sharding=sharding)
        return {op.name: op for op in step.ops if op.kind == "collective"}

    params = count_parameters(SMALL).total
    for devices, times in ((8, 8), (64, 30)):
        sent = shared(devices)["parameters.broadcast"]
        assert (sent.collective, sent.group, sent.role, sent.count) == ("broadcast", "dp", "update", times)
        assert sent.bytes_sent * sent.count == pytest.approx(params * 2)
    within = shared(64, sharding="hzero1")
    assert (within["parameters.broadcast"].group, within["parameters.broadcast"].count) == ("shard", 8)
    assert within["gradients.all_reduce"].group == "dp"
    assert "parameters.all_gather" in shared(8, sharding="zero2")  # gradients of a slice: no owner of the whole


def test_of_arrays_nothing_is_reduced_where_the_fullest_stage_has_no_experts():
    # DeepSeek-V3: three dense layers and the embedding fill the first of 32 stages, not the first of 2
    words = {"num_devices": 2048, "tp": 2, "ep": 32, "cp": 2, "global_batch": 15360, "sharding": "zero1"}
    stacked = {"stack": "megatron", "sequence_parallel": True}
    model = roofline.load_model("deepseek-v3")
    both = build_step(model, train_config({**words, **stacked, "pp": np.array([2.0, 32.0])}))
    counts = {op.name: np.broadcast_to(op.count, (2,)).tolist() for op in both.ops if op.kind == "collective"}
    assert counts["gradients.expert_reduce_scatter"] == [1, 0]
    assert counts["gradients.reduce_scatter"] == [1, 1]
    names = {op.name for op in build_step(model, train_config({**words, **stacked, "pp": 32})).ops}
    assert "gradients.expert_reduce_scatter" not in names


def test_gradients_that_are_summed_whole_are_reduced_once_a_step():
    def counts(stack):
        step = step_of(
            stack=stack, optimizer="adamw", num_devices=8, sharding="fsdp", global_batch=8 * 4
        )  # 4 micro batches
        buckets = {op.name: op for op in step.ops if op.phase == "optimizer"}
        once = buckets["gradients.reduce_scatter"].rounds, buckets["parameters.all_gather"].rounds
        return once, buckets["gradients.accumulate"].bytes_written, buckets["gradients.accumulate"].count

    params = count_parameters(SMALL).total
    assert counts("hf-trainer") == ((1, 4), params * 2, 3)
    assert counts("fsdp") == ((4, 4), params / 8 * 4, 3)

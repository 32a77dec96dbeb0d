"""Phases of a step's memory: peaks measured on real runs, and what is alive when."""

import pytest

from roofline.config.optimizer import optimizer
from roofline.config.settle import train_config
from roofline.counting.ownership import stage_shares
from roofline.counting.step import build_step
from roofline.footprint.activations import GIB
from roofline.footprint.parts import memory_for
from roofline.footprint.phases import phases_of
from roofline.footprint.spreads import fit_probability
from roofline.model.load import load_model

from ..small import small

MISTRAL = load_model("mistral-7b")
PURE = {"seq_len": 4096, "recompute": "full", "stack": "eager", "master_weights": False}


def memory(model=MISTRAL, capacity=80 * GIB, **options):
    return memory_for(build_step(model, train_config(options)), capacity)


@pytest.mark.parametrize("micro_batch", [4, 8])
def test_pure_16_bit_peaks_in_the_update(micro_batch):
    # weights 2, gradients 2, moments 4 and the square roots of one of them 2 bytes a parameter: 67.46 GiB measured
    # for micro batches of 4 and 8 (github:foundation-model-stack/fms-acceleration benchmarks)
    found = memory(micro_batch=micro_batch, **PURE)
    assert found.allocated_bytes == pytest.approx(10 * 7_241_732_096)
    assert found.allocated_bytes / GIB == pytest.approx(67.46, abs=0.03)
    assert max(found.phases, key=lambda phase: phase.total).name == "update"
    assert (found.host_bytes, found.nvme_bytes) == (0, 0)


def test_fsdp_without_sync_sums_whole_gradients_between_micro_batches():
    # 7.24B parameters on 8 ranks: 2 bytes of each until the last micro batch, then 4 bytes of an eighth
    words = {"num_devices": 8, "sharding": "fsdp", "seq_len": 4096, "recompute": "full", "micro_batch": 1}
    n = 7_241_732_096
    found = {
        (stack, batch): [phase.gradients / n for phase in memory(stack=stack, global_batch=batch, **words).phases]
        for stack in ("hf-trainer", "fsdp")
        for batch in (8, 16)
    }
    assert found["hf-trainer", 16] == pytest.approx([2, 2, 2, 0.5])
    assert found["fsdp", 16] == pytest.approx([0.5, 0.5, 0.5, 0.5])  # summed as slices
    assert found["hf-trainer", 8] == found["fsdp", 8] == pytest.approx([0, 0, 0.5, 0.5])


def test_gradients_of_one_micro_batch_do_not_stand_beside_all_activations():
    once = memory(micro_batch=2, global_batch=2, **PURE)
    more = memory(micro_batch=2, global_batch=4, **PURE)
    start, again = (found.phases[0] for found in (once, more))
    assert (start.name, start.gradients) == ("loss", 0)
    assert again.gradients == 2 * 7_241_732_096
    assert start.activations == again.activations


def test_buffers_stand_through_the_whole_step():
    start = memory(micro_batch=1, **{**PURE, "stack": "megatron", "master_weights": True}).phases[0]
    assert start.gradients == 4 * 7_241_732_096  # fp32 sums


def test_buckets_of_data_parallelism_are_views_of_all_gradients():
    start = memory(micro_batch=1, num_devices=2, **PURE).phases[0]
    assert start.gradients == 2 * 7_241_732_096


def test_a_pipeline_of_one_micro_batch_has_no_gradients_beside_its_activations():
    options = {"num_devices": 2, "pp": 2, "micro_batch": 1, **PURE}
    once, more = (memory(**options, global_batch=batch).phases for batch in (1, 2))
    assert (once[0].gradients, more[0].gradients) == (0, more[-1].gradients)


def test_only_the_stage_of_the_head_has_logits():
    model = small(n_layers=4, d_model=64, n_heads=4, d_ff=256, vocab_size=512)
    step = build_step(model, train_config({"stack": "eager", "seq_len": 32, "pp": 2, "num_devices": 2}))
    first, last = (phases_of(step, *each) for each in stage_shares(model, step.train, step.weights))
    assert first[0].logits == 0 < 10 * 32 * 512 <= last[0].logits


@pytest.mark.parametrize(("name", "moments", "roots"), [("adamw", 2, 1), ("lion", 1, 0), ("sgd", 0, 0)])
def test_chains_of_kernels_make_square_roots_of_second_moments_alone(name, moments, roots):
    update = memory(micro_batch=1, optimizer=name, **PURE).phases[-1]
    assert update.optimizer == 2 * (moments + roots) * PARAMETERS


def test_a_fused_update_needs_no_temporaries():
    foreach, fused = (memory(micro_batch=1, **PURE, fused=words).phases[-1] for words in ((), ("optimizer",)))
    assert foreach.optimizer - fused.optimizer == 2 * 7_241_732_096


def test_an_update_of_one_tensor_after_the_other_has_temporaries_of_the_largest():
    # gradients were zeroed in place, and stand from step to step (PyTorch 1)
    found = memory(micro_batch=1, **{**PURE, "stack": "hf-trainer@4.17"})
    largest = 32_000 * 4096  # the embedding; a matrix of a feed-forward block has 14,336 x 4,096
    parameters = 7_241_732_096
    assert found.phases[-1].optimizer == 2 * (2 * parameters + largest)
    assert {phase.gradients for phase in found.phases} == {2 * parameters}


def test_a_verdict_between_yes_and_no():
    sizes = {verdict: fit_probability(total, 80.0) for verdict, total in (("yes", 65), ("no", 100), ("even", 80))}
    assert sizes["even"] == 0.5
    assert sizes["yes"] > 0.9
    assert sizes["no"] < 0.1
    found = memory(micro_batch=4, capacity=68 * GIB, **PURE)
    assert found.verdict == "borderline"
    assert not found.fits
    assert memory(micro_batch=4, **PURE).verdict == "fits"
    assert memory(micro_batch=4, capacity=50 * GIB, **PURE).verdict == "does not fit"


def test_logits_that_are_never_there_as_a_whole():
    # Liger's linear cross entropy on Llama 3 8B with adapters, 16 x 4,096 tokens: 47.4 GiB allocated were measured,
    # where the logits alone would take 65,536 x 128,256 x 2 bytes = 15.7 GiB and more
    llama = load_model("llama-3-8b")
    options = {
        "micro_batch": 16,
        "seq_len": 4096,
        "train": "lora",
        "lora_rank": 16,
        "recompute": "full",
        "stack": "eager",
    }
    kept, never = (memory(llama, **options, fused=(words,)) for words in ("cross_entropy", "linear_cross_entropy"))
    assert kept.phases[0].logits - never.phases[0].logits == 65_536 * 128_256 * 2
    assert never.allocated_bytes / GIB == pytest.approx(47.4, rel=0.03)


PARAMETERS, TABLE = 7_241_732_096, 32_000 * 4096  # of mistral-7b; of its embedding, and of its head


def test_sharded_gradients_of_one_micro_batch_are_freed_before_the_next():
    options = {**PURE, "num_devices": 8, "sharding": "fsdp", "micro_batch": 1}
    once, more = (memory(global_batch=batch, **options) for batch in (8, 16))
    assert once.phases[0].gradients == 0
    assert more.phases[0].gradients == more.phases[2].gradients == once.phases[2].gradients > 0


def test_gathered_layers_are_gone_in_the_update():
    found = memory(num_devices=8, sharding="zero3", micro_batch=1, **PURE)
    assert found.phases[0].communication > 0
    assert found.phases[-1].communication == 0


def test_a_pipeline_keeps_sharded_parameters_gathered_beside_the_shards():
    found = memory(num_devices=16, pp=2, sharding="zero3", micro_batch=1, **{**PURE, "stack": "megatron"})
    stage = PARAMETERS / 2  # of layers, with the embedding or the head
    assert found.phases[0].weights == pytest.approx(stage * 2 + stage * 2 / 8, rel=1e-5)
    assert found.phases[0].communication == 0  # they are weights now


def test_a_frozen_base_is_in_8_bits_only_where_the_software_casts_in_its_kernels():
    lora = {"train": "lora", "lora_rank": 8, "micro_batch": 1, "seq_len": 1024, "stack": "eager"}
    for dtype, fused, each in (("fp8", (), 2), ("fp8", ("cast",), 1), ("bf16", ("cast",), 2)):
        found = memory(dtype=dtype, fused=fused, **lora)
        assert found.weights_bytes == pytest.approx(each * PARAMETERS, rel=0.02), (dtype, fused)


@pytest.mark.parametrize(("sharding", "gradients"), [("zero1", (2, 2)), ("zero2", (0, 2 / 8))])
@pytest.mark.parametrize("stack", ["hf-trainer", "axolotl", "fsdp"])
def test_deepspeeds_stages_under_the_trainer(stack, sharding, gradients):
    # 2 bytes of a weight and its gradient (a slice of these in stage 2), 12 of masters and moments over 8 ranks; the
    # update copies a rank's gradients to fp32. DeepSpeed's docs/memory.rst: 2 + 2 + 16 / 8, and 2 + 16 / 8
    found = memory(stack=stack, sharding=sharding, num_devices=8, micro_batch=1, seq_len=1024, recompute="full")
    loss, *_, end, update = found.phases
    assert loss.weights == 2 * PARAMETERS
    assert (loss.gradients, end.gradients) == tuple(each * PARAMETERS for each in gradients)
    assert (end.optimizer, update.optimizer) == (12 / 8 * PARAMETERS, 16 / 8 * PARAMETERS)


@pytest.mark.parametrize("stack", ["hf-trainer", "deepspeed"])
def test_stage_3_keeps_16_bit_gradients_and_updates_a_group_at_a_time(stack):
    # 2 + 2 + 12 bytes over all ranks (arXiv:1910.02054, section 3.1); the update makes fp32 gradients of 10^9
    # parameters at once (sub_group_size), here of 7.2 / 4 billion
    found = memory(stack=stack, sharding="zero3", num_devices=4, micro_batch=1, seq_len=1024, recompute="full")
    end, update = found.phases[-2:]
    assert (4 * end.weights, 4 * end.gradients, 4 * end.optimizer) == (2 * PARAMETERS, 2 * PARAMETERS, 12 * PARAMETERS)
    assert found.phases[0].gradients == end.gradients  # they have a buffer
    assert update.optimizer - end.optimizer == 4e9
    few = memory(stack=stack, sharding="zero3", num_devices=8, micro_batch=1, seq_len=1024, recompute="full")
    assert few.phases[-1].optimizer == 16 / 8 * PARAMETERS


def test_stage_2_makes_fp32_gradients_of_all_that_a_rank_updates_at_once():
    # of 7.2 / 4 billion parameters, where stage 3 would make those of 10^9
    found = memory(stack="deepspeed", sharding="zero2", num_devices=4, micro_batch=1, seq_len=1024, recompute="full")
    end, update = found.phases[-2:]
    assert update.optimizer - end.optimizer == 4 * PARAMETERS / 4


@pytest.mark.parametrize(
    ("dtype", "base", "more"),
    [
        ("bf16", "fp32", 2),
        ("bf16", "fp16", 0),
        ("fp32", "bf16", -2),
        ("fp8", "fp32", 3),
    ],  # fp8: 1 byte, cast in kernels
)
def test_a_plain_base_is_kept_as_it_was_loaded(dtype, base, more):
    lora = {"train": "lora", "micro_batch": 1, "seq_len": 1024, "stack": "nemo", "dtype": dtype}
    usual, said = memory(**lora), memory(**lora, base_dtype=base)
    assert said.weights_bytes - usual.weights_bytes == more * PARAMETERS


@pytest.mark.parametrize(("layers", "share"), [(None, 1.0), (16, 0.5)])
def test_offloaded_activations_leave_two_layers_at_hand(layers, share):
    here = memory(micro_batch=2, **PURE).phases[0].activations
    options = {} if layers is None else {"offload_layers": layers}
    found = memory(micro_batch=2, offload=("activations",), **options, **PURE)
    loss = found.phases[0]
    assert loss.activations == pytest.approx(here * (1 - share) + 2 * here / 32)
    assert loss.host == found.host_bytes == pytest.approx(here - loss.activations)


@pytest.mark.parametrize("name", ["muon", "soap", "shampoo"])
def test_a_hidden_matrix_is_in_hand_not_the_table(name):
    # the largest is a feed-forward's, 4,096 x 14,336; the table of 32,000 x 4,096 is left to AdamW
    found = memory(micro_batch=1, optimizer=name, fused=("optimizer",), **PURE)
    made = found.phases[-1].optimizer - found.phases[-2].optimizer
    assert made == optimizer(name).in_hand * 4096 * 14_336


LORA = {"seq_len": 4096, "train": "lora", "lora_rank": 16, "lora_modules": "attention", "recompute": "full"}
SHARDED = {"sharding": "fsdp", "num_devices": 2, "fused": ("cross_entropy", "norm", "rotary")}


@pytest.mark.parametrize(("stack", "held"), [("hf-trainer@4.48", 62), ("hf-trainer", 0)])
def test_hooks_of_fsdp_hold_what_reentrant_checkpoints_make_anew(stack, held):
    # 31 of 32 layers keep their input and its gradient, 2 x 4,096 x 2 bytes a token. FSDP of PyTorch 2.13 on a stack of
    # layers with frozen matrices keeps 4 bytes of d_model, layer and token with reentrant checkpoints, 2 without
    found = memory(stack=stack, micro_batch=4, **LORA, **SHARDED)
    loss, start, end, _ = found.phases
    in_hand = start.activations - loss.activations + 4 * 4096 * 4096 * 2  # with the input of the layer in hand
    assert end.activations - in_hand == held * 4 * 4096 * 4096 * 2
    # 19.76 GiB allocated at peak were measured, 67.46 of full training (github:foundation-model-stack/fms-acceleration)
    if held:
        assert found.allocated_bytes / GIB == pytest.approx(19.76, rel=0.03)


def test_what_is_trained_is_not_held():
    full = memory(stack="hf-trainer@4.48", micro_batch=4, seq_len=4096, recompute="full", **SHARDED)
    assert full.phases[2].activations < full.phases[1].activations


def test_a_stream_is_in_16_bits_where_parameters_are_gathered_so():
    # 3.5 x 4,096 wide: 534 kB a token of full training on 4 devices were measured between micro batches 8 and 16, of
    # which 32 inputs of layers at 2 bytes are 262 kB; autocast alone leaves them in fp32
    options = {"seq_len": 4096, "recompute": "full", "stack": "hf-trainer@4.45.2", "num_devices": 4}
    for sharding, size in (("fsdp", 2), ("none", 4)):
        found = memory(micro_batch=8, sharding=sharding, **options)
        assert found.phases[0].activations == pytest.approx(size * 32 * 4096 * 8 * 4096, rel=1e-3)


@pytest.mark.parametrize(
    ("stack", "model", "options", "each"),
    [
        # log_softmax: logits 2, fp32 copy 4, shifted 4, result 4; its backward: result, gradient, gradient: 12
        ("hf-trainer@4.48", "mistral-7b", {}, 14),
        ("hf-trainer@4.45", "mistral-7b", {}, 12),  # the first is gone
        ("hf-trainer@4.57", "mistral-7b", {}, 12),  # nothing is shifted: 10, and the backward pass has more
        ("hf-trainer@4.48", "mistral-7b", {"fused": ("cross_entropy",)}, 10),
        ("hf-trainer@4.45", "mistral-7b", {"fused": ("cross_entropy",)}, 8),
        ("hf-trainer@4.57", "mistral-7b", {"fused": ("cross_entropy",)}, 10),  # 2, 4, and 4 that are handed back
        # no copy in fp32 but autocast's: 2 + 2 shifted + 4 + 4; of fp16 the kernel widens: 4 + 4 + 2 in backward
        ("hf-trainer@4.48", "gpt2", {}, 12),
        ("hf-trainer@4.48", "gpt2", {"dtype": "fp16"}, 10),
        # what the model returns is copied to fp32 beside what the loss keeps: 2 + 2 shifted + 4
        ("hf-trainer@4.48", "gpt2", {"fused": ("cross_entropy",)}, 8),
        ("axolotl", "gpt2", {"fused": ("cross_entropy",)}, 10),  # as transformers 5: labels are shifted
        ("axolotl", "gpt2", {"master_weights": False}, 12),
        ("automodel", "gpt2", {"master_weights": False}, 12),
        ("torchtune", "gpt2", {"fused": ("linear_cross_entropy",)}, 0),
        ("hf-trainer@4.48", "gpt2", {"master_weights": False}, 6),  # all in 16 bits
        ("hf-trainer@4.57", "gpt2", {"master_weights": False}, 12),
        ("eager", "gpt2", {}, 10),
        ("eager", "gpt2", {"dtype": "fp32"}, 12),
        ("eager", "gpt2", {"fused": ("cross_entropy",)}, 2),
        ("eager", "gpt2", {"fused": ("linear_cross_entropy",)}, 0),
    ],
)
def test_bytes_of_a_logit_in_the_loss(stack, model, options, each):
    # PyTorch's kernels on CPU make and free these tensors under transformers 4.45.2, 4.48.1 and 5.24
    spec = load_model(model)
    options = {"seq_len": 512, "stack": stack, "dropout": False, **options}
    few, more = (memory(spec, micro_batch=n, **options).phases[0].logits for n in (1, 2))
    size = 4 if options.get("dtype") == "fp32" else 2
    # the head keeps its input and that of the final norm beside
    hidden = (more - few) / 512 - each * spec.vocab_size
    assert size * spec.d_model <= hidden <= 14 * spec.d_model


@pytest.mark.parametrize(("stack", "each"), [("hf-trainer@4.48", 12), ("hf-trainer", 8), ("axolotl", 8)])
def test_a_fused_update_makes_no_square_roots(stack, each):
    # two fp32 moments of each weight; chains of kernels make the square roots of all of them beside
    found = memory(stack=stack, micro_batch=1, seq_len=512)
    assert found.phases[-1].optimizer == each * 7_241_732_096


@pytest.mark.parametrize(
    ("stack", "recompute", "trained", "each"),
    [
        ("4.48", "full", "full", 2),
        ("4.48", "none", "full", 0),
        ("5.0", "full", "full", 0),
        ("4.48", "full", "qlora", 4),  # layer norms give fp32 under autocast, and a base of 4 bits returns it
    ],
)
def test_keys_and_values_that_a_model_hands_back_stay_until_the_loss(stack, recompute, trained, each):
    starcoder = load_model("starcoder-15b")
    options = {"fused": ("linear_cross_entropy",), "recompute": recompute, "micro_batch": 2, "seq_len": 512}
    options["train"] = trained
    found = memory(starcoder, stack=f"hf-trainer@{stack}", **options)
    plain = memory(starcoder, stack="hf-trainer", **options)
    # views of one product, 48 heads of queries and 1 of keys and values: 128 * (48 + 2), of 40 layers
    assert found.phases[0].logits - plain.phases[0].logits == 40 * 2 * 512 * 6400 * each
    assert [phase.logits for phase in found.phases[1:]] == [0, 0, 0]


@pytest.mark.parametrize(("upcast", "each"), [("none", 2), ("norms", 4)])
def test_upcast_norms_make_the_stream_fp32(upcast, each):
    adapters = {"train": "qlora", "lora_modules": "attention", "lora_rank": 16, "lora_dropout": 0.1}
    of_run = {"stack": "hf-trainer@4.48", "micro_batch": 4, "seq_len": 4096, "recompute": "full"}
    found = memory(**adapters, **of_run, base_upcast=upcast)
    # the input of each of 32 layers; tables of positions are small
    assert found.phases[0].activations == pytest.approx(32 * 4 * 4096 * 4096 * each, rel=1e-3)
    # fms-acceleration, a100_80gb.csv: accelerated-peft-bnb (row 77) and baseline-peft-bnb (row 57), torch allocated
    assert found.allocated_bytes / GIB == pytest.approx({2: 15.25, 4: 19.25}[each], rel=0.01)


def test_what_is_not_quantised_may_be_upcast_as_a_whole():
    norms, tables = 65 * 4096, 2 * 32000 * 4096
    base = {"train": "qlora", "lora_rank": 1, "stack": "hf-trainer", "micro_batch": 1, "seq_len": 128}
    none, some, every = (memory(**base, base_upcast=word).weights_bytes for word in ("none", "norms", "all"))
    assert (some - none, every - none) == (2 * norms, 2 * (norms + tables))


MIXTRAL = load_model("mixtral-8x7b")  # 46,702,792,704 parameters: 45,097,156,608 of experts


def test_sharding_divides_experts_by_the_ranks_that_share_them():
    found = memory(MIXTRAL, num_devices=8, ep=4, sharding="zero3", micro_batch=1, **PURE)
    assert found.phases[-1].weights == 2 * 46_702_792_704 / 8  # the experts by 4, and by the 2 ranks with the same ones


def test_experts_of_a_quantised_base_are_kept_in_4_bits_alone():
    found = memory(MIXTRAL, micro_batch=1, **{**LORA, "train": "qlora", "stack": "eager", "seq_len": 1024})
    stored = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes: 4 bits, an 8-bit scale for 64 of them, an fp32 one for 256 scales
    layers = 45_097_156_608 + 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    others = 2 * 32_000 * 4096 + 65 * 4096 + 32 * 8 * 4096  # both tables, norms, routers: 2 bytes; adapters: 4
    assert found.phases[-1].weights == stored * layers + 2 * others + 4 * 32 * 16 * (2 * 8192 + 2 * 5120)


def test_what_is_frozen_of_a_trained_model_is_kept_like_the_rest():
    found = memory(micro_batch=1, seq_len=1024, freeze=("embeddings",), stack="compiled")
    assert found.phases[-1].weights == 4 * PARAMETERS
    assert found.phases[2].gradients == 4 * (PARAMETERS - TABLE)


def test_primary_weights_in_8_bits_are_a_byte_but_for_tables_and_norms():
    found = memory(micro_batch=1, seq_len=1024, stack="megatron", dtype="fp8", weight_dtype="fp8")
    assert found.phases[-1].weights == PARAMETERS + 2 * TABLE + 65 * 4096


DRIVES = {"offload_to": "nvme", "nvme_gb_per_s": 5}


@pytest.mark.parametrize(
    ("options", "weights", "gradients", "host", "nvme"),
    [
        # moments and fp32 copy, and the fp32 gradients that wait for the update: 8 + 4 + 4 bytes a parameter
        ({"sharding": "zero1"}, 2 * 8, 6 * 8, 16, 0),
        ({"sharding": "zero2"}, 2 * 8, 0, 16, 0),
        ({"sharding": "zero3", "offload": ("optimizer", "parameters")}, 0, 0, 18, 0),
        ({"sharding": "zero3", "offload": ("optimizer", "parameters"), **DRIVES}, 0, 0, 4, 14),
    ],
)
def test_what_is_offloaded_leaves_the_device_for_the_host_or_its_drives(options, weights, gradients, host, nvme):
    options = {"num_devices": 8, "offload": ("optimizer",), "stack": "deepspeed", **options}
    found = memory(micro_batch=1, seq_len=1024, **options)
    for phase in found.phases[2:]:
        held = (phase.weights, phase.gradients, phase.optimizer, phase.host, phase.nvme)
        assert [8 * each / PARAMETERS for each in held] == [weights, gradients, 0, host, nvme]
    assert (found.host_bytes, found.nvme_bytes) == (host * PARAMETERS, nvme * PARAMETERS)  # of all 8 in a node


def test_a_pipeline_keeps_the_gathered_weights_whose_shards_are_on_the_host():
    # 16-bit weights of the stage stay; shards of them, both moments, fp32 copy and fp32 gradients are on the host
    options = {"num_devices": 16, "pp": 2, "sharding": "zero3", "offload": ("optimizer", "parameters")}
    update = memory(micro_batch=1, seq_len=1024, stack="deepspeed", **options).phases[-1]
    assert update.host / update.weights == (2 + 8 + 4 + 4) / 8 / 2
    assert (update.weights, update.optimizer) == (pytest.approx(2 * PARAMETERS / 2, rel=1e-5), 0)


def test_a_schedule_of_two_directions_keeps_two_copies_of_weights_and_gradients():
    options = {"num_devices": 4, "pp": 4, "global_batch": 16, "stack": "megatron"}
    one, two = (memory(micro_batch=1, schedule=word, **options).phases[-1] for word in ("1f1b", "dualpipe"))
    assert (two.weights / two.optimizer, two.gradients / two.optimizer) == (2 * 2 / 12, 2 * 4 / 12)
    assert (one.weights / one.optimizer, one.gradients / one.optimizer) == (2 / 12, 4 / 12)


def test_one_graph_hands_back_all_gradients_beside_their_sums():
    def gradients(stack, batch):
        options = {"num_devices": 1, "global_batch": batch, "micro_batch": 1}
        return [phase.gradients for phase in memory(stack=stack, **options).phases[1:]]

    for stack, sets in (("compiled", 2), ("eager", 1)):
        start, end, update = gradients(stack, 2)
        assert (start, end) == (update, sets * update)
    start, end, update = gradients("compiled", 1)  # nothing to add to
    assert (start, end) == (0, update)

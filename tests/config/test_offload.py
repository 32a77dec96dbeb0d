"""What lives on the host: bytes, transfers and seconds by hand, and what does not go together."""

import pytest

import roofline
from roofline.config.settle import settle
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.footprint.parts import memory_for, memory_of
from roofline.hardware import load_device
from roofline.timing.ranks import price
from roofline.timing.schedule import schedule

from ..small import small

H100 = load_device("h100-sxm-80gb")
MODEL = small(
    n_layers=8,
    d_model=256,
    n_heads=4,
    d_ff=1024,
    vocab_size=1024,
    max_seq_len=512,
    norm="rms",
    biases=False,
    rotary=True,
)
N = 8 * (4 * 256 * 256 + 3 * 256 * 1024 + 2 * 256) + 2 * 1024 * 256 + 256
USUAL = {"stack": "deepspeed", "sharding": "zero3", "num_devices": 16, "seq_len": 512, "micro_batch": 2}


def step_of(device=None, **options):
    run = settle(MODEL, device, {**USUAL, **options})
    return build_step(run.model, run.train)


def memory(**options):
    return memory_for(step_of(**options), 0)


def ops(step, kind):
    return {op.name: op for op in step.ops if op.kind == kind}


def test_optimizer_state_masters_and_gradients_leave_the_device():
    here, there = memory(), memory(offload="optimizer")
    update = here.phases[-1]
    assert (there.phases[-1].optimizer, there.phases[-1].gradients) == (0, 0)
    assert there.phases[-1].weights == update.weights
    # masters 4, moments 8, fp32 gradients 4, of a sixteenth of the parameters each; 8 devices on a host
    assert there.host_bytes == pytest.approx(16 * N / 16 * 8)
    assert memory(offload="optimizer", devices_per_node=4).host_bytes == pytest.approx(16 * N / 16 * 4)


def test_gradients_that_are_whole_stay():
    there = memory(offload="optimizer", sharding="zero1", stack="nemo")
    assert there.phases[-1].gradients == pytest.approx(2 * (N + (128 * 8 - 1024) * 256))
    assert there.host_bytes == pytest.approx((12 + 2) * N / 16 * 8)


def test_all_is_what_is_kept_from_step_to_step():
    there = memory(offload="all")
    assert (there.weights_bytes, there.phases[-1].total) == (0, 0)
    assert there.host_bytes == pytest.approx((16 + 2) * N / 16 * 8)
    assert there.phases[0].communication == memory().phases[0].communication  # layers are still gathered
    assert settle(MODEL, None, {**USUAL, "offload": "all,activations"}).train.offload == (
        "optimizer",
        "parameters",
        "activations",
    )


def test_of_activations_two_layers_are_here():
    here, there = memory(), memory(offload="activations")
    held = here.phases[0].activations
    assert there.phases[0].activations == pytest.approx(held * 2 / 8)
    assert there.host_bytes == pytest.approx(held * 6 / 8 * 8)
    half = memory(offload="activations", offload_layers=4)
    assert half.phases[0].activations == pytest.approx(held * (4 + 2) / 8)
    assert half.host_bytes == pytest.approx(held * 2 / 8 * 8)


def test_on_drives_host_memory_holds_gradients_alone():
    there = memory(offload="all", offload_to="nvme", nvme_gb_per_s=20)
    assert there.nvme_bytes == pytest.approx((12 + 2) * N / 16 * 8)
    assert there.host_bytes == pytest.approx(4 * N / 16 * 8)


def test_transfers_by_hand():
    # zero3: fp32 gradients go down in each of 3 micro batches, 16-bit weights come up once
    moved = ops(step_of(offload="optimizer", global_batch=96), "transfer")
    assert moved["offload.gradients"].bytes_sent == pytest.approx(4 * N / 16)
    assert (moved["offload.gradients"].count, moved["offload.gradients"].role) == (3, None)
    assert moved["offload.weights"].bytes_sent == pytest.approx(2 * N / 16)
    assert (moved["offload.weights"].count, moved["offload.weights"].role) == (1, "update")
    # and with parameters there, a slice comes up for every gather instead
    moved = ops(step_of(offload="all", global_batch=96), "transfer")
    assert moved["offload.parameters"].bytes_sent == pytest.approx(2 * N / 16)
    assert moved["offload.parameters"].count == 2 * 3
    assert "offload.weights" not in moved


def test_activations_go_down_and_come_up():
    step = step_of(offload="activations")
    saved = sum(op.saved_bytes * op.count for op in step.ops if op.part == "layer")
    for phase in ("forward", "backward"):
        (op,) = [op for op in step.ops if op.kind == "transfer" and op.phase == phase]
        assert op.bytes_sent * op.count == pytest.approx(saved)


def test_the_update_on_the_host_moves_one_pass_over_its_memory():
    step = step_of(H100, offload="optimizer", host_gb_per_s=100)
    (update,) = ops(step, "host").values()
    # in: fp32 gradient, master, moments; out: master, moments, 16-bit weight
    assert update.bytes == pytest.approx((4 + 4 + 8 + 4 + 8 + 2) * N / 16)
    assert "optimizer.adamw" not in ops(step, "optimizer")
    seconds = next(item.expected for item in price(step, H100) if item.op.kind == "host")
    assert seconds == pytest.approx(30 * N / 16 * 8 / 100e9)  # of eight devices at once


def test_a_copy_takes_what_the_link_gives():
    step = step_of(H100, offload="optimizer")
    item = next(item for item in price(step, H100) if item.op.name == "offload.weights")
    assert item.ideal == pytest.approx(2 * N / 16 / 63e9)
    assert item.expected == pytest.approx(item.ideal / 0.84)  # H100: 51 to 52 of 63 GB/s


def test_gradients_hide_behind_backward_where_the_software_lets_them():
    times = {}
    for stack in ("deepspeed", "parallel"):
        step = step_of(H100, stack=stack, offload="optimizer", host_gb_per_s=1e6, micro_batch=8)
        times[stack] = schedule(step, H100, price(step, H100)).offload
    weights = 2 * N / 16 / 63e9 / 0.84
    assert times["deepspeed"] == pytest.approx(weights, rel=0.02)
    assert times["parallel"] == pytest.approx(3 * weights, rel=0.02)  # its gradients are fp32


def test_drives_swap_beside_the_update():
    step = step_of(H100, offload="all", offload_to="nvme", nvme_gb_per_s=1, host_gb_per_s=1e6)
    swapped = {item.op.name: item.expected for item in price(step, H100) if item.op.kind == "nvme"}
    assert swapped["optimizer.swap"] == pytest.approx(2 * 12 * N / 16 * 8 / 1e9)
    assert swapped["offload.swap"] == pytest.approx((2 * 2 + 2) * N / 16 * 8 / 1e9)
    assert schedule(step, H100, price(step, H100)).offload == pytest.approx(sum(swapped.values()), rel=0.01)


def test_pages_leave_where_the_device_is_full():
    step = step_of(H100, sharding="none", stack="compiled", num_devices=1, optimizer="adamw-paged")
    roomy = memory_of(step, H100)
    assert roomy.host_bytes == 0 and roomy.fits
    short = memory_for(step, float(roomy.needed_bytes) - 4 * N)  # what the allocator can give back goes first
    assert short.host_bytes == pytest.approx(4 * N)
    assert short.needed_bytes == pytest.approx(short.capacity_bytes)
    assert roomy.optimizer_bytes - short.optimizer_bytes == pytest.approx(4 * N)
    small = memory_for(step, float(roomy.needed_bytes) - 9 * N)  # more than the moments
    assert small.host_bytes == pytest.approx(8 * N) and not small.fits


@pytest.mark.parametrize("offload", ["optimizer", "parameters", "all", "activations", "all,activations"])
def test_offload_saves_memory_and_costs_time(offload):
    options = {**USUAL, "micro_batch": 1, "seq_len": 2048}
    plain, moved = (
        roofline.estimate("gpt2-xl", H100, **{**options, "seq_len": 1024}, **extra)
        for extra in ({}, {"offload": offload})
    )
    assert moved.memory.total_bytes < plain.memory.total_bytes
    assert moved.memory.host_bytes > 0
    assert moved.schedule.total >= plain.schedule.total
    assert moved.to_dict()["memory"]["host_bytes"] == moved.memory.host_bytes


def test_arrays_equal_one_by_one():
    numpy = pytest.importorskip("numpy")
    options = {**USUAL, "offload": "all,activations", "micro_batch": 1, "seq_len": 1024}
    together = roofline.estimate("gpt2-xl", H100, **{**options, "num_devices": [8, 16, 32]})
    for place, count in enumerate((8, 16, 32)):
        alone = roofline.estimate("gpt2-xl", H100, **{**options, "num_devices": count})
        assert alone.step_time_s == pytest.approx(numpy.asarray(together.step_time_s)[place])
        assert alone.memory.host_bytes == pytest.approx(numpy.asarray(together.memory.host_bytes)[place])


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        (H100, {"offload": "parameters", "sharding": "zero1"}, "use --sharding zero3 or fsdp"),
        (H100, {"offload": "optimizer", "optimizer": "adamw-8bit"}, "-paged form .* one of adamw, "),
        (H100, {"offload": "optimizer", "optimizer": "muon"}, "update runs on the device alone"),
        (H100, {"offload": "all", "offload_to": "nvme"}, "--nvme-bandwidth GB/s"),
        (H100, {"offload": "all", "offload_to": "nvme", "nvme_gb_per_s": 20, "sharding": "zero2"}, "zero3"),
        (H100, {"offload": "activations", "offload_to": "nvme", "nvme_gb_per_s": 20}, "optimizer and parameters"),
        (H100, {"nvme_gb_per_s": 20}, "add --offload-to nvme"),
        (H100, {"offload_layers": 4}, "add --offload activations"),
        (H100, {"offload": "activations", "offload_layers": 99}, "layers: use at most that"),
        (H100, {"offload": "activations", "host_gb_per_s": 300}, "add --offload optimizer"),
        (H100, {"offload": "optimiser"}, "unknown offload 'optimiser': did you mean 'optimizer'"),
        (H100, {"offload": "all", "offload_to": "disk"}, "unknown place .*cpu, nvme"),
        (
            load_device("tpu-v5p"),
            {"offload": "optimizer", "stack": "jax", "sharding": "fsdp"},
            "no published link to its host",
        ),
        (load_device("apple-m3-max-gpu"), {"offload": "all", "stack": "fsdp"}, "shares its memory with the host"),
    ],
)
def test_what_does_not_go_together_is_named(device, options, words):
    with pytest.raises(RooflineError, match=words) as error:
        step_of(device, **options)
    assert "\n" not in str(error.value)


def test_numbers_of_offloaded_layers_may_be_an_array():
    found = roofline.memory("gpt2", "h100-sxm-80gb", micro_batch=1, offload="activations", offload_layers=[3, 6, 12])
    assert found.host_bytes[0] < found.host_bytes[1] < found.host_bytes[2]
    with pytest.raises(RooflineError, match="offload_layers 13: gpt2 has 12 layers"):
        roofline.memory("gpt2", "h100-sxm-80gb", micro_batch=1, offload="activations", offload_layers=[3, 13])


def test_what_is_assumed_of_the_host_is_said():
    run = settle(MODEL, H100, {**USUAL, "offload": "all"})
    assert any("328 GB/s of 2 x AMD EPYC 7742" in note for note in run.assumed)  # 2 x 204.8 x 0.8
    given = settle(MODEL, H100, {**USUAL, "offload": "all", "host_gb_per_s": 400})
    assert not any("EPYC" in note for note in given.assumed)

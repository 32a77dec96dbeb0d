import json

import msgspec
import pytest

import roofline
from roofline.counting.op import Op
from roofline.counting.step import build_step
from roofline.model.load import OnNumbers
from roofline.tracing.fusion import Fused
from roofline.tracing.recorder import Trace
from roofline.tracing.step import model_of


def op(name, phase, **extra):
    fields = {"kind": "matmul", "part": "layer", "dtype": "bf16", "shape": (1024, 1024, 1024, 1)}
    fields |= {"flops": 2 * 1024**3, "bytes_read": 4 * 1024**2, "bytes_written": 2 * 1024**2}
    return Op(name=name, phase=phase, **(fields | extra))


@pytest.fixture
def small():
    """One linear layer [1024, 1024] on 1024 rows, and a frozen table of 5000 parameters beside it."""
    return Trace(
        name="Small",
        ops=(
            op("fc.mm", "forward"),
            op("fc.mm.dgrad", "backward"),
            op("fc.mm.wgrad", "backward", shape=(1024, 1024, 1024, 1)),
        ),
        parameters=1024 * 1024 + 5000,
        trainable_parameters=1024 * 1024,
        activation_bytes=2 * 1024 * 1024,
        peak_bytes=3 * 1024 * 1024,
        by_module={},
    )


DEVICE = "h100-sxm-80gb"


def test_a_compiling_stack_runs_the_fused_pass_and_is_the_default_of_a_compiled_module(small):
    chain = [op(name, "forward", kind="elementwise", shape=None, flops=2**20) for name in ("mul", "add")]
    fused = Fused(ops=(op("fused_mul_add", "forward", kind="elementwise"),), activation_bytes=0, peak_bytes=2**20)
    trace = msgspec.structs.replace(small, ops=(*small.ops, *chain), fused=fused)
    assert [op.name for op in build_step(model_of(trace), settled(trace, stack="fsdp")).ops][3:5] == ["mul", "add"]
    step = build_step(model_of(trace), settled(trace, stack="compiled"))
    assert (step.ops[0].name, step.ops[0].saved_bytes) == ("fused_mul_add", 2**20)
    assert settled(trace).stack == "eager"
    assert settled(msgspec.structs.replace(trace, compiled=True)).stack == "compiled"


def settled(trace, **options):
    return roofline.settle(trace, DEVICE, **options).train


def test_mfu_counts_the_matmuls_of_the_pass(small):
    result = roofline.estimate(small, DEVICE)
    assert result.model_flops_per_step == 3 * 2 * 1024**3
    assert result.mfu == pytest.approx(result.model_flops_per_step / result.step_time_s / 989.4e12)
    assert 0 < result.mfu <= result.hfu < 1


def test_memory_counts_what_the_pass_keeps_and_what_trains(small):
    used = roofline.estimate(small, DEVICE, stack="megatron").memory
    assert used.activations_bytes == small.peak_bytes
    assert used.weights_bytes == 2 * small.parameters
    assert used.optimizer_bytes == 12 * small.trainable_parameters
    alone = roofline.memory(small, DEVICE, stack="megatron")
    assert alone.total_bytes == used.total_bytes
    assert (alone.max_micro_batch, alone.max_seq_len) == (
        None,
        None,
    )  # its batch and length are those it was traced with
    assert roofline.memory(small, stack="megatron").fits is None


def test_accumulation_repeats_the_pass(small):
    once, four = (roofline.estimate(small, DEVICE, global_batch=n) for n in (1, 4))
    assert four.model_flops_per_step == 4 * once.model_flops_per_step


def test_data_parallel_reduces_what_trains(small):
    step = build_step(model_of(small), roofline.settle(small, DEVICE, num_devices=8).train)
    reduced = [item for item in step.ops if item.kind == "collective"]
    assert len(reduced) == 1
    assert reduced[0].bytes_sent in {2 * small.trainable_parameters, 4 * small.trainable_parameters}


@pytest.mark.parametrize("name", ["tp", "micro_batch", "seq_len", "pp"])
def test_options_of_transformers_are_refused(small, name):
    with pytest.raises(roofline.RooflineError, match=f"--{name.replace('_', '-')} does not apply"):
        roofline.estimate(small, DEVICE, **{name: 2}, num_devices=2)


@pytest.mark.parametrize("options", [{"recompute": "full"}, {"train": "lora"}, {"freeze": "embeddings"}])
def test_methods_of_transformers_are_refused(small, options):
    with pytest.raises(roofline.RooflineError, match="does not apply to a traced module"):
        roofline.memory(small, DEVICE, **options)


def test_an_optimizer_of_matrices_is_refused(small):
    with pytest.raises(roofline.RooflineError, match="updates matrices"):
        roofline.estimate(small, DEVICE, optimizer="muon")


def test_a_trace_is_counted_as_it_ran(small):
    result = roofline.count(small)
    assert (result.params_total, result.tokens) == (small.parameters, 1)
    assert result.flops_forward == 2 * 1024**3
    assert result.flops_backward == 2 * 2 * 1024**3
    assert [op.name for op in result.ops][:3] == [op.name for op in small.ops]
    assert "6ND" not in str(result.tables())


def test_a_trace_is_planned_and_compared_as_a_model_is(small):
    plan = roofline.plan(small, DEVICE, tokens=8_000_000, num_devices=8)
    assert (plan.layout.dp, plan.layout.tp, plan.layout.micro_batch) == (8, 1, 1)
    assert plan.steps == 1_000_000  # of eight passes, one on each device
    table = roofline.compare([small, "gpt2"], DEVICE, micro_batch=1)
    assert list(table.to_frame()["model"]) == ["Small", "gpt2"]
    best = roofline.layouts(small, DEVICE, num_devices=8)
    assert {(layout.dp, layout.recompute) for layout in best.layouts} == {(8, "none")}
    assert best.layouts[0].step_time_s == pytest.approx(
        roofline.estimate(small, DEVICE, num_devices=8, sharding=best.layouts[0].sharding).step_time_s, rel=1e-6
    )
    with pytest.raises(roofline.RooflineError, match="chinchilla is a rule for text"):
        roofline.plan(small, DEVICE, tokens="chinchilla")


def test_a_measured_run_of_a_traced_module(small):
    expected = roofline.estimate(small, DEVICE)
    found = roofline.mfu(small, DEVICE, step_time_s=4 * expected.step_time_s)
    assert found.mfu == pytest.approx(expected.mfu / 4)
    assert found.verdict == "below"
    assert not any("micro batch" in change.what for change in found.improvements)


def test_inference_of_a_trace_is_refused(small):
    with pytest.raises(roofline.RooflineError, match="traced training pass"):
        roofline.infer(small, DEVICE, "decode")


def test_what_does_not_fit_is_mended_by_devices_alone(small):
    large = msgspec.structs.replace(small, parameters=10**10, trainable_parameters=10**10)
    result = roofline.memory(large, DEVICE)
    assert not result.fits
    assert result.fixes
    assert all(fix.options.keys() <= {"num_devices", "sharding", "global_batch", "optimizer"} for fix in result.fixes)


def test_an_empty_trace_and_a_module_say_what_to_do(small):
    with pytest.raises(roofline.RooflineError, match="ran no operator"):
        roofline.estimate(msgspec.structs.replace(small, ops=()), DEVICE)

    class Module:
        def named_parameters(self):
            return ()

    with pytest.raises(roofline.RooflineError, match=r"roofline\.trace\("):
        roofline.estimate(Module(), DEVICE)


def test_a_trace_is_a_frame_of_its_ops(small):
    frame = small.to_frame()
    assert list(frame["name"]) == [op.name for op in small.ops]
    assert frame["flops"].dtype.kind == "i"


def test_every_command_takes_a_function(run, printed, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.py"
    path.write_text("import torch\ndef build():\n    return torch.nn.Linear(64, 32), torch.randn(8, 64)\n")
    spec = f"{path}:build"
    assert roofline.estimate(spec, DEVICE).model.extra_params == 64 * 32 + 32
    assert roofline.memory(spec).weights_bytes > 0
    assert roofline.count(spec).flops_forward >= 2 * 8 * 64 * 32
    for words in (["memory", spec, "-d", DEVICE], ["count", spec]):
        out = printed(*words)
        assert "Linear" in out
    assert run("compare", spec, "-d", DEVICE, "-d", "a100-sxm-80gb").status == 0


def test_a_file_on_the_command_line(printed, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "def build():\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())\n"
        "    return net, torch.randn(64, 3, 32, 32)\n"
    )
    out = printed("estimate", f"{path}:build", "-d", "h100-sxm-80gb", "--format", "json")
    assert json.loads(out)["step_time_s"] > 0
    out = printed("estimate", f"{path}:build", "-d", "h100-sxm-80gb")
    assert "pass(es) of the example inputs a step" in out


MODULES = """
import torch
class Experts(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.expert = torch.nn.Linear(16, 8)
    def forward(self, x):
        return self.expert(x[torch.where(x[:, 0] >= 0)])
class Spectrum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 16)
    def forward(self, x):
        return torch.fft.rfft(self.layer(x)).abs()
def experts(device="cpu"):
    return Experts().to(device), torch.arange(-3, 5.0)[:, None].expand(8, 16)
def meta():
    return experts("meta")
def spectrum():
    return Spectrum(), torch.randn(4, 16)
"""


def test_a_module_runs_on_numbers_where_that_is_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(MODULES)
    monkeypatch.setattr("roofline.tracing.trace.LARGEST_REAL", 0)
    spec = f"{tmp_path / 'net.py'}:experts"
    with pytest.raises(roofline.RooflineError, match=r"asks for a value .*: shapes have none, .*--real"):
        roofline.count(spec)
    experts = roofline.count(OnNumbers(spec))
    assert sum(op.flops for op in experts.ops if op.kind == "matmul" and op.phase == "forward") == 2 * 5 * 16 * 8
    with pytest.raises(roofline.RooflineError, match="net.py:meta builds its module on the meta device"):
        roofline.count(OnNumbers(f"{tmp_path / 'net.py'}:meta"))


def test_a_file_is_traced_on_numbers_or_as_it_is_where_it_runs_no_other_way(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(MODULES)
    experts = roofline.count(f"{tmp_path / 'net.py'}:experts")
    assert sum(op.flops for op in experts.ops if op.kind == "matmul" and op.phase == "forward") == 2 * 5 * 16 * 8
    assert experts.model.assumptions[0].startswith("traced on its own numbers")
    spectrum = roofline.count(f"{tmp_path / 'net.py'}:spectrum")
    assert spectrum.model.assumptions == ("traced in the dtypes it has, since it does not run in bf16",)
    with pytest.raises(roofline.RooflineError, match="asks for a value .*: shapes have none"):
        roofline.count(f"{tmp_path / 'net.py'}:meta")

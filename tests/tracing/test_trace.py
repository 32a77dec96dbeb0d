"""Tracing any PyTorch module: FLOPs against torch's counter, bytes by hand, what is kept, clear errors."""

# ruff: noqa: E402, N812  torch is optional: it is imported where the suite finds it; F is its usual name

import json
import math
import sys

import pytest

from roofline.errors import RooflineError

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from roofline.tracing.step import model_of
from roofline.tracing.trace import load_builder, trace

from .nets import resnet, total


def torch_flops(module, *inputs, loss=None, **kwargs):
    """FLOPs of forward and backward as torch counts them, on real data."""
    with FlopCounterMode(display=False) as counter:
        output = module(*inputs, **kwargs)
        forward = counter.get_total_flops()
        (
            loss(output) if loss else getattr(output, "loss", None) if hasattr(output, "loss") else output.sum()
        ).backward()
    return forward, counter.get_total_flops() - forward


def traced_flops(result):
    return result.matmul_flops("forward"), result.matmul_flops("backward")


def trace_file(spec, **options):
    module, inputs, keyword_inputs = load_builder(spec)
    return trace(module, *inputs, keyword_inputs=keyword_inputs, **options)


class VisionTransformer(nn.Module):
    """Patches by a strided convolution, a class token, pre-norm blocks with fused attention."""

    def __init__(self, dim=24, heads=3, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 17, dim))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(dim, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)  # [N, 16, dim]
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


class UNet(nn.Module):
    """Down, middle, up with a skip connection, group norm, transposed convolution and interpolation."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.GroupNorm(2, 8)
        self.middle = nn.Conv2d(8, 16, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        skip = F.silu(self.norm(self.down(x)))
        x = self.up(F.silu(self.middle(skip)))
        return self.out(F.interpolate(torch.cat([x, skip], 1), scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (resnet, (torch.randn(2, 3, 32, 32),)),
        (UNet, (torch.randn(2, 3, 16, 16),)),
        (lambda: nn.GRU(8, 16, 2), (torch.randn(5, 3, 8),)),
        (lambda: nn.Conv1d(4, 6, 5, dilation=2), (torch.randn(3, 4, 20),)),
        (lambda: nn.Conv3d(2, 4, 3), (torch.randn(1, 2, 6, 6, 6),)),
        (lambda: nn.Linear(3, 4), (torch.randn(2, 6, 3),)),
    ],
)
def test_flops_equal_torchs_counter(build, inputs):
    module = build()
    loss = (lambda output: output[0].sum()) if isinstance(module, nn.GRU) else None
    assert traced_flops(trace(module, *inputs, loss=loss)) == torch_flops(module, *inputs, loss=loss)


def test_vision_transformer_counts_the_attention_that_torchs_counter_misses():
    module, image = VisionTransformer(), torch.randn(2, 3, 16, 16)
    result = trace(module, image)
    forward, backward = torch_flops(module, image)
    attention = 2 * 2 * 4 * 2 * 3 * 17 * 17 * 8 // 4  # 2 layers x 2 matmuls x 2 FLOPs x [N=2, h=3, 17, 17, d=8]
    assert total(result, "flops", "forward", kind="attention") == attention * 2
    assert result.matmul_flops("forward") == forward + attention * 2
    assert result.matmul_flops("backward") == backward + 2 * attention * 2


def test_dtype_words():
    module, x = nn.Linear(4, 4), torch.randn(2, 4)
    for dtype, itemsize in (("bf16", 2), ("fp16", 2), ("tf32", 4), ("fp64", 8)):
        op = trace(module, x, dtype=dtype).ops[0]
        assert op.dtype == dtype
        assert op.bytes_written == 8 * itemsize
    with pytest.raises(RooflineError, match=r"cannot trace in dtype 'fp8' \(allowed: fp64, fp32, tf32, fp16, bf16\)"):
        trace(module, x, dtype="fp8")


def test_parameters_that_no_operator_takes_are_idle():
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(4, 4)
            self.vision = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 4))
            self.gate = nn.Parameter(torch.zeros(7))

        def forward(self, text, image=None):
            return self.text(text) + (0 if image is None else self.vision(image))

    text, image = torch.randn(2, 4), torch.randn(2, 3)
    assert trace(Towers(), text).idle == {"gate": 7, "vision": 3 * 5 + 5 + 5 * 4 + 4}
    assert trace(Towers(), text, image).idle == {"gate": 7}


def test_failing_module_is_one_line():
    with pytest.raises(RooflineError, match="Linear failed on the example inputs: RuntimeError: ") as caught:
        trace(nn.Linear(3, 4), torch.randn(2, 5))
    assert "\n" not in str(caught.value)
    with pytest.raises(RooflineError, match=r"needs a torch\.nn\.Module, got int"):
        trace(3)
    with pytest.raises(RooflineError, match="Identity runs no operator"):
        trace(nn.Identity(), torch.randn(2, 5))


# --- real language models --------------------------------------------------------------------------------

B, S, D, H, KV, F_, V = 2, 16, 32, 4, 2, 64, 101
LLAMA = {
    "hidden_size": D,
    "num_attention_heads": H,
    "num_key_value_heads": KV,
    "intermediate_size": F_,
    "vocab_size": V,
}
MODELS = {
    "gpt2": {"n_embd": D, "n_head": H, "n_inner": F_, "vocab_size": V, "n_layer": 2, "n_positions": 32},
    "llama": LLAMA | {"num_hidden_layers": 2},
    "mixtral": LLAMA | {"num_hidden_layers": 2, "num_local_experts": 4, "num_experts_per_tok": 2},
}


def language_model(family, attention, **fields):
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.for_model(family, **MODELS[family], **fields)
    config.use_cache = False
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).train()


def analytic(family, attention, tmp_path, **options):
    from roofline.config.run import TrainConfig
    from roofline.counting.step import build_step
    from roofline.model.load import load_model

    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": family} | MODELS[family]))
    train = TrainConfig(
        micro_batch=B,
        seq_len=S,
        dtype="fp32",
        stack="eager",
        dropout=family == "gpt2",
        attention="unfused" if attention == "eager" else "flash2",
        **options,
    )
    return build_step(load_model(path), train).ops


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", list(MODELS))
def test_traced_and_analytic_flops_agree(family, attention, tmp_path):
    ids = torch.randint(0, V, (B, S))
    result = trace(language_model(family, attention), keyword_inputs={"input_ids": ids, "labels": ids})
    ops = analytic(family, attention, tmp_path)
    for phase in ("forward", "backward"):
        matmuls = [op for op in ops if op.kind in {"matmul", "attention"} and op.phase == phase]
        executed = [op for op in result.ops if op.kind in {"matmul", "attention"} and op.phase == phase]
        assert result.matmul_flops(phase) == sum(
            (op.flops if op.model_flops is None else op.model_flops) * op.count for op in matmuls
        )
        assert sum(op.flops * op.count for op in executed) == sum(op.flops * op.count for op in matmuls)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", list(MODELS))
def test_traced_and_analytic_activation_memory_agree(family, attention, tmp_path):
    ids = torch.randint(0, V, (B, S))
    result = trace(language_model(family, attention), keyword_inputs={"input_ids": ids, "labels": ids})
    kept = sum(op.saved_bytes * op.count for op in analytic(family, attention, tmp_path))
    assert result.activation_bytes == pytest.approx(kept, rel=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("family", list(MODELS))
def test_full_recompute_agrees_with_checkpointed_layers(family, tmp_path):
    ids = torch.randint(0, V, (B, S))
    model = language_model(family, "sdpa")
    model.gradient_checkpointing_enable({"use_reentrant": True})
    result = trace(model, keyword_inputs={"input_ids": ids, "labels": ids}, dtype="fp32")
    ops = analytic(family, "sdpa", tmp_path, recompute="full")
    recomputed = [op for op in ops if op.phase == "recompute" and op.kind in {"matmul", "attention"}]
    assert total(result, "flops", "recompute", kind="matmul") + total(
        result, "flops", "recompute", kind="attention"
    ) == sum(op.flops * op.count for op in recomputed)
    tables = 2 * S * (D // H) * 4 if family != "gpt2" else 0  # checkpoints hold rotary tables without saving them
    kept = sum(op.saved_bytes * op.count for op in ops) - tables
    assert result.activation_bytes == pytest.approx(kept, abs=4)  # the loss itself


def test_expert_loop_traces_on_real_data_like_grouped_matmuls():
    ids = torch.randint(0, V, (B, S))
    inputs = {"input_ids": ids, "labels": ids}
    model = language_model("mixtral", "eager")
    grouped = trace(model, keyword_inputs=inputs)
    model.config._experts_implementation = "eager"
    assert torch_flops(model, **inputs) == traced_flops(trace(model, keyword_inputs=inputs, real=True))
    assert traced_flops(trace(model, keyword_inputs=inputs, real=True)) == traced_flops(grouped)


# --- path/to/file.py:function ----------------------------------------------------------------------------

BUILDER = """
import torch

def build_fn():
    return torch.nn.Linear(3, 5), torch.randn(4, 3)

def keywords():
    return torch.nn.Linear(3, 5), {"input": torch.randn(4, 3)}

def wrong():
    return torch.nn.Linear(3, 5)

def broken():
    raise KeyError("no weights")
"""


@pytest.fixture
def builder(tmp_path):
    path = tmp_path / "my_model.py"
    path.write_text(BUILDER)
    return path


@pytest.mark.parametrize("function", ["build_fn", "keywords"])
def test_trace_file(builder, function):
    result = trace_file(f"{builder}:{function}", dtype="bf16")
    assert (result.name, result.matmul_flops("forward")) == ("Linear", 2 * 4 * 3 * 5)
    assert math.isclose(result.activation_bytes, 4 * 3 * 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.py:build_fn", r"no file 'missing\.py'"),
        ("{path}", "does not name a function"),
        ("{path}:build", r"unknown function 'build': did you mean 'build_fn'\?"),
        ("{path}:wrong", r"must return \(module, example_inputs\), got Linear"),
        ("{path}:broken", "broken failed: KeyError: 'no weights'"),
    ],
)
def test_builder_errors(builder, spec, message):
    with pytest.raises(RooflineError, match=message):
        load_builder(spec.format(path=builder))


def test_file_that_does_not_import(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import nothing_of_the_kind")
    with pytest.raises(RooflineError, match=r"cannot import .*bad\.py: ModuleNotFoundError"):
        load_builder(f"{path}:build_fn")
    assert str(tmp_path) not in sys.path


def test_without_torch_the_extra_is_named(builder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RooflineError, match=r"pip install 'roofline\[torch\]'"):
        load_builder(f"{builder}:build_fn")


def test_compiled_modules_are_traced_as_what_the_compiler_is_given():
    def net():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    x, plain, method = torch.randn(2, 4), trace(net(), torch.randn(2, 4)), net()
    method.compile()
    inner = net()
    inner[0] = torch.compile(inner[0])
    for module in (torch.compile(net()), method, inner):
        result = trace(module, x)
        assert (result.ops, result.by_module, result.name) == (plain.ops, plain.by_module, "Sequential")
        assert result.compiled
        assert "the compiled stack" in model_of(result).assumptions[0]
    assert not plain.compiled
    assert model_of(plain).assumptions == ()


def test_what_a_traced_pass_cannot_do_is_said_with_a_remedy():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            def loss(row):
                return self.layer(row).sum()

            return torch.func.vmap(torch.func.grad(loss))(x)

    class Nested(Rows):
        def forward(self, x):
            rows = torch.nested.as_nested_tensor([x, x[:1]], layout=torch.jagged)
            return self.layer(rows).to_padded_tensor(0.0)

    for module, inputs, remedy in (
        (nn.Embedding(8, 4, sparse=True), torch.zeros(3, dtype=torch.long), "trace an embedding with sparse=False"),
        (Rows(), torch.randn(3, 4), "take torch.autograd.grad"),
        (Nested(), torch.randn(3, 4), "pad it"),
    ):
        with pytest.raises(RooflineError, match=f"{type(module).__name__} failed .*: .*{remedy}"):
            trace(module, inputs)

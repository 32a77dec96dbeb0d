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

from roofline.tracing.trace import load_builder, trace, trace_file


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


def total(result, field, phase, **equal):
    return sum(
        getattr(op, field) * op.count
        for op in result.ops
        if op.phase == phase and all(getattr(op, name) == value for name, value in equal.items())
    )


class Residual(nn.Module):
    """A ResNet basic block with a projected shortcut."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Residual(8, 8, 1),
        Residual(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


class MobileBlock(nn.Module):
    """Depthwise separable convolutions with squeeze-and-excitation."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.gate = nn.Conv2d(12, 12, 1)

    def forward(self, x):
        x = F.hardswish(self.depthwise(F.silu(self.expand(x))))
        return x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))


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


def test_grouped_convolution_by_hand():
    # torch's counter multiplies the weight gradient of a grouped convolution by its groups
    result = trace(MobileBlock(), torch.randn(2, 3, 8, 8))
    expand, depthwise, gate = 2 * 128 * 3 * 12, 2 * 128 * 12 * 9, 2 * 2 * 12 * 12  # 128 = [N=2, 8, 8]
    assert result.matmul_flops("forward") == expand + depthwise + gate
    assert result.matmul_flops("backward") == expand + 2 * (depthwise + gate)  # the image takes no gradient


def test_vision_transformer_counts_the_attention_that_torchs_counter_misses():
    module, image = VisionTransformer(), torch.randn(2, 3, 16, 16)
    result = trace(module, image)
    forward, backward = torch_flops(module, image)
    attention = 2 * 2 * 4 * 2 * 3 * 17 * 17 * 8 // 4  # 2 layers x 2 matmuls x 2 FLOPs x [N=2, h=3, 17, 17, d=8]
    assert total(result, "flops", "forward", kind="attention") == attention * 2
    assert result.matmul_flops("forward") == forward + attention * 2
    assert result.matmul_flops("backward") == backward + 2 * attention * 2


def test_linear_costs_by_hand():
    result = trace(nn.Linear(3, 5), torch.randn(4, 3, requires_grad=True))
    forward = next(op for op in result.ops if op.phase == "forward")
    assert (forward.name, forward.kind, forward.dtype, forward.shape) == (
        "addmm",
        "matmul",
        "fp32",
        (4, 5, 3, 1),
    )
    assert forward.flops == 120  # 2 * 4 * 5 * 3
    assert (forward.bytes_read, forward.bytes_written) == (128, 80)  # 4 * (12 + 15 + 5), 4 * 20
    assert forward.saved_bytes == 48  # the input: 4 * 12
    backward = {op.name: op for op in result.ops if op.phase == "backward"}
    assert set(backward) == {"mm.dgrad", "mm.wgrad", "sum"}
    assert backward["mm.dgrad"].shape == (4, 3, 5, 1)
    assert backward["mm.wgrad"].shape == (5, 3, 4, 1)
    assert backward["mm.wgrad"].bytes == 4 * (20 + 12 + 15)
    assert result.parameters == result.trainable_parameters == 20


def test_convolution_backward_is_three_kernels():
    result = trace(nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5, requires_grad=True))
    ops = {op.name: op for op in result.ops}
    flops = 2 * (2 * 3 * 3) * 6 * (2 * 3 * 3)  # 2 x [N * 3 * 3 positions] x 6 outputs x (2 inputs * 3 * 3)
    assert ops["convolution"].flops == flops
    assert ops["convolution_backward.dgrad"].flops == ops["convolution_backward.wgrad"].flops == flops
    assert ops["convolution_backward.wgrad"].shape == (3, 18, 18, 2)
    assert ops["convolution_backward.bias_grad"].kind == "elementwise"


def test_triangular_solve_by_hand():
    class Solve(nn.Module):
        def forward(self, a, b):
            return torch.linalg.solve_triangular(a, b, upper=False)

    (op,) = trace(Solve(), torch.randn(2, 5, 5), torch.randn(2, 5, 3)).ops
    assert op.flops == 2 * 5 * 5 * 3  # [batch 2] x n^2 x k


def test_first_layer_has_no_data_gradient_and_frozen_weights_no_weight_gradient():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].requires_grad_(False)
    names = [op.name for op in trace(module, torch.randn(2, 4)).ops if op.phase == "backward"]
    assert [name for name in names if "mm" in name] == ["*.mm.dgrad", "*.mm.wgrad"]
    assert not [op for op in trace(module.requires_grad_(False), torch.randn(2, 4)).ops if op.phase == "backward"]


def test_views_are_free_and_in_place_operators_are_not():
    class Views(nn.Module):
        def forward(self, x):
            return x.view(2, 6).t().unsqueeze(0).split(3, 1)[0].mul(2).add_(1)

    mul, add = trace(Views(), torch.randn(3, 4)).ops
    assert (mul.bytes_read, mul.bytes_written, add.bytes_read, add.bytes_written) == (24, 24, 24, 24)


def test_expanded_operand_is_read_once():
    class Scale(nn.Module):
        def forward(self, x):
            return x * torch.ones(1, 4).expand(3, 4)

    assert [op.bytes_read for op in trace(Scale(), torch.randn(3, 4)).ops if op.name == "mul"] == [48 + 16]


def test_embedding_reads_rows_and_has_no_flops():
    module = nn.Embedding(1000, 8)
    look_up, scatter = trace(module, torch.zeros(2, 3, dtype=torch.int64)).ops
    assert (look_up.kind, look_up.flops) == ("embedding", 0)
    assert (look_up.bytes_read, look_up.bytes_written) == (6 * 8 + 6 * 8 * 4, 6 * 8 * 4)
    assert scatter.phase == "backward"
    assert scatter.bytes_written == 1000 * 8 * 4 + 6 * 8 * 4  # the zeros of the whole table, then the rows


def test_norm_and_softmax_kinds():
    module = nn.Sequential(nn.LayerNorm(8), nn.RMSNorm(8), nn.Softmax(-1))
    kinds = [(op.kind, op.phase) for op in trace(module, torch.randn(2, 8)).ops]
    assert kinds[:1] == [("normalization", "forward")]
    assert ("softmax", "forward") in kinds
    assert ("softmax", "backward") in kinds


def test_dropout_is_one_kernel_with_a_byte_mask():
    result = trace(nn.Dropout(0.5), torch.randn(4, 8, requires_grad=True))
    assert [op.name for op in result.ops] == ["native_dropout", "native_dropout_backward"]
    assert result.ops[0].bytes_written == 32 * 4 + 32
    assert result.activation_bytes == 32


def test_causal_attention_executes_half_and_counts_whole():
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=0.1, is_causal=True)

    q, k, v = (torch.randn(2, 3, 16, 8, requires_grad=True) for _ in range(3))
    forward, backward, *_ = trace(Attention(), q, k, v).ops
    full = 2 * 2 * 2 * 3 * 16 * 16 * 8  # 2 matmuls x 2 FLOPs x [b=2, h=3, s=16, S=16, d=8]
    assert (forward.name, forward.shape) == ("scaled_dot_product_attention", (2, 3, 16, 16, 8))
    assert (forward.model_flops, forward.flops) == (full, full * 17 // 32)  # (16 + 1) / 2 of 16 keys
    assert (backward.model_flops, backward.flops) == (2 * full, forward.flops * 5 / 2)


def test_attention_with_narrow_values_is_fused():
    class Latent(nn.Module):
        def forward(self, q, k, v, mask):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)

    q, k, v = torch.randn(2, 4, 16, 24), torch.randn(2, 2, 16, 24), torch.randn(2, 2, 16, 8)
    ops = trace(Latent(), q.requires_grad_(), k, v, torch.ones(16, 16, dtype=torch.bool)).ops
    (forward,) = (op for op in ops if op.kind == "attention" and op.phase == "forward")
    assert forward.flops == 2 * 2 * 4 * 16 * 16 * (24 + 8)  # 2 FLOPs x [b=2, h=4, s=16, S=16] x (d + dv)
    assert "attention" in [op.kind for op in ops if op.phase == "backward"]
    assert not [op for op in ops if op.kind == "matmul"]


def test_checkpointed_layers_run_again():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False)

    x = torch.randn(4, 8, requires_grad=True)
    result, plain = trace(Checkpointed(), x), trace(Checkpointed().layer, x)
    assert result.matmul_flops("forward", "backward") == plain.matmul_flops()
    assert total(result, "flops", "recompute", kind="matmul") >= 2 * 4 * 8 * 32
    assert result.matmul_flops("recompute") == 0  # not the model's FLOPs
    assert result.activation_bytes < plain.activation_bytes / 5


def test_equal_layers_merge_and_totals_hold():
    module = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    result = trace(module, torch.randn(2, 8, requires_grad=True))
    assert [(op.name, op.count) for op in result.ops if op.phase == "forward"] == [("*.addmm", 5)]
    whole = result.by_module[""]
    assert whole.flops_forward == total(result, "flops", "forward")
    assert whole.flops_backward == total(result, "flops", "backward")
    assert whole.activation_bytes == result.activation_bytes == total(result, "saved_bytes", "forward")
    assert result.by_module["3"].flops_forward == 2 * 2 * 8 * 8


def test_activation_bytes_are_what_torch_keeps():
    module, image = resnet(), torch.randn(2, 3, 32, 32)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = module(image)
    assert output.requires_grad
    expected = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in own)
    assert trace(module, image).activation_bytes == expected
    assert trace(module, image, real=True).activation_bytes == expected


def test_peak_is_the_largest_sum_of_live_tensors():
    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(64, 256, bias=False), nn.Linear(256, 64, bias=False)

        def forward(self, x):
            return self.down(torch.relu(self.up(x)))

    result = trace(Mlp(), torch.randn(32, 64))
    x, hidden, weight = 32 * 64 * 4, 32 * 256 * 4, 64 * 256 * 4
    assert result.activation_bytes == x + hidden
    # backward of `down`: input, hidden, output, its gradient, the hidden's gradient and the weight's
    assert result.peak_bytes == x + hidden + x + x + hidden + weight


def test_a_70b_layer_on_meta_needs_no_memory():
    with torch.device("meta"):
        module = nn.Sequential(*(nn.Linear(8192, 28672, bias=False) for _ in range(3)))
        module.append(nn.Embedding(7, 3))
    module = module[:1]
    result = trace(module, torch.empty(4096, 8192, device="meta", dtype=torch.bfloat16), dtype="bf16")
    assert result.parameters == 8192 * 28672
    assert result.matmul_flops("forward") == 2 * 4096 * 8192 * 28672
    assert result.ops[0].dtype == "bf16"


def test_module_and_inputs_are_left_alone():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    image = torch.randn(2, 3, 8, 8)
    for real in (False, True):
        trace(module, image, real=real)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert F.dropout.__module__ == "torch.nn.functional"
    assert not any(submodule._forward_hooks or submodule._forward_pre_hooks for submodule in module.modules())


def test_dtype_words():
    module, x = nn.Linear(4, 4), torch.randn(2, 4)
    for dtype, itemsize in (("bf16", 2), ("fp16", 2), ("tf32", 4), ("fp64", 8)):
        op = trace(module, x, dtype=dtype).ops[0]
        assert op.dtype == dtype
        assert op.bytes_written == 8 * itemsize
    with pytest.raises(RooflineError, match=r"cannot trace in dtype 'fp8' \(allowed: fp64, fp32, tf32, fp16, bf16\)"):
        trace(module, x, dtype="fp8")


def test_operator_without_a_rule_is_an_error():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(RooflineError, match=r"no cost rule for operator 'aten\._fft_\w+'.*in Fourier, forward"):
        trace(Fourier(), torch.randn(4, 8))


def test_shapes_that_depend_on_data_need_real_data():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            rows = torch.nonzero(x[:, 0] > 0)[:, 0]
            return self.linear(x[rows])

    x = torch.ones(6, 4)
    with pytest.raises(RooflineError, match=r"chooses its shapes by the data.*real=True"):
        trace(Routed(), x)
    assert trace(Routed(), x, real=True).matmul_flops("forward") == 2 * 6 * 4 * 4


def test_integers_keep_their_values():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, mask):
            return self.linear(x) if mask.all() and torch.arange(len(x)).max().item() == 1 else x

    result = trace(Masked(), torch.randn(2, 4), keyword_inputs={"mask": torch.ones(2, dtype=torch.bool)})
    assert result.matmul_flops("forward") == 2 * 2 * 4 * 4


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

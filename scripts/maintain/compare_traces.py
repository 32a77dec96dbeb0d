"""Record what a traced pass of each described model type costs: what the tests hold our counts against.

The class of each type is built from its default configuration, four layers deep and with a small vocabulary, and one
pass traced in 16 bits, with the attention that transformers picks for it.

    python scripts/maintain/compare_traces.py [--write] [TYPE ...]

Needs the `torch` extra; the tests do not. Left out are types whose
class cannot be built or traced from its defaults, and wholes of several models.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from compare_types import AHEAD, NEEDED, read_fields, without
from compare_with_transformers import ADJUSTED
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from trace_types import in_process, shallow

from roofline.counting.op import Op
from roofline.model.family import family_ids
from roofline.model.huggingface import model_from_config
from roofline.model.towers import table
from roofline.tracing import architecture
from roofline.tracing.trace import Trace, trace

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "traced_counts.jsonl"
BATCH, SEQ_LEN, VOCABULARY = 2, 256, 1024
# where transformers runs every expert on every token, one expert that every token visits is what can be compared
ONE_EXPERT: Mapping[str, Mapping[str, Any]] = {"llama4_text": {"num_local_experts": 1}}
# what packages for GPUs run as one kernel that keeps what it reads (causal-conv1d, flash-linear-attention, mamba-ssm,
# mlstm_kernels)
MAMBA2 = "mamba2_split_conv1d_scan_combined"
KERNELS = (
    "causal_conv1d_fn",
    "chunk_kimi_delta_attention",
    "mamba_selective_scan",
    "mlstm_chunkwise_native_autograd",
    "rwkv_linear_attention",
    "torch_chunk_gated_delta_rule",
)
SCANS = (("RecurrentGemmaRglru", "_rnn_scan"),)  # the same as methods


def small(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without dropout and with a small vocabulary."""
    cut: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            cut[name] = small(value)
        elif name == "vocab_size" and isinstance(value, int):
            cut[name] = min(value, VOCABULARY)
        elif name.endswith("_token_id") and isinstance(value, int):
            cut[name] = min(value, 1)
        else:
            cut[name] = 0.0 if "drop" in name and isinstance(value, float) else value
    return cut


def config_of(name: str) -> dict[str, Any]:
    """What is built of a type."""
    changes = {**ADJUSTED.get(name, {}), **NEEDED.get(name, {})}
    config = transformers.AutoConfig.for_model(name, **{**changes, **ONE_EXPERT.get(name, {})})
    fields: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))
    return without(small(shallow({**fields, "model_type": name})), AHEAD)


def counts(ops: tuple[Op, ...]) -> dict[str, float]:
    """Bytes kept for backward; FLOPs of matmuls and attention (those in fp32 apart), and bytes moved, by phase."""
    found = {"saved_bytes": sum(float(op.saved_bytes * op.count) for op in ops)}
    for op in ops:
        if op.phase in {"forward", "backward"}:
            kind = op.kind if op.kind in {"matmul", "attention"} else "elementwise"
            costs = {f"{kind}_bytes_{op.phase}": op.bytes}
            if kind != "elementwise":
                costs[f"flops_{op.phase}"] = op.flops if op.model_flops is None else op.model_flops
                if op.dtype == "fp32":
                    costs[f"fp32_flops_{op.phase}"] = costs[f"flops_{op.phase}"]
            for key, amount in costs.items():
                found[key] = found.get(key, 0) + float(amount * op.count)
    return found


def in_one(chain: Any, *given: Any, **named: Any) -> Any:
    """A chain as a kernel: what it reads is kept (a checkpoint keeps what has no name), and nothing within it."""
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    rest, first = {name: value for name, value in named.items() if name not in tensors}, len(given)

    def run(*values: Any) -> Any:
        return chain(*values[:first], **dict(zip(tensors, values[first:], strict=True)), **rest)

    return checkpoint(run, *given, *tensors.values(), use_reentrant=False, preserve_rng_state=False)


def alone(chain: Any) -> Any:
    """A function or method whose insides are not kept."""

    @functools.wraps(chain)
    def run(*args: Any, **options: Any) -> Any:
        return in_one(chain, *args, **options)

    return run


def mamba2(
    code: Any, first: torch.Tensor, convolution: torch.Tensor, bias: Any, step_bias: Any, a: Any, **more: Any
) -> Any:
    """A layer of Mamba-2 behind its first projection: what that wrote is kept, and what the scan made, and no more.

    Written from the functions of a model's `code`, in the signature of mamba-ssm's `mamba_split_conv1d_scan_combined`.
    """
    heads, channels, groups = step_bias.numel(), convolution.shape[0], more["ngroups"]
    inner, rows = heads * more["headdim"], first.shape[:2]

    def scan(first: torch.Tensor) -> torch.Tensor:
        _, mixed, step = first.split([inner, channels, heads], -1)
        mixed = code.causal_conv1d_fn(mixed.transpose(1, 2), convolution, bias, activation=more["activation"])
        parts = mixed.transpose(1, 2).split([inner, (channels - inner) // 2, (channels - inner) // 2], -1)
        x, b, c = (part.reshape(*rows, count, -1) for part, count in zip(parts, (heads, groups, groups), strict=True))
        options = {"chunk_size": more["chunk_size"], "D": more["D"], "dt_bias": step_bias, "dt_softplus": True}
        return code.mamba2_chunk_scan(x, step, a, b, c, **options).reshape(*rows, inner).to(first.dtype)

    def leave(scanned: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        gated = scanned * functional.silu(first[..., :inner])
        if more["rmsnorm_weight"] is not None:
            gated = functional.rms_norm(gated, (inner,), more["rmsnorm_weight"])
        return functional.linear(gated, more["outproj_weight"], more["outproj_bias"])

    return in_one(leave, in_one(scan, first), first)


@contextlib.contextmanager
def one_kernel_each(module: torch.nn.Module) -> Iterator[None]:
    """The functions of a module's file that are kernels on a GPU run as checkpoints: their insides are not kept."""
    code = sys.modules[type(module).__module__]
    holders = [(code, name) for name in (*KERNELS, MAMBA2)]
    holders += [(getattr(code, owner), name) for owner, name in SCANS if hasattr(code, owner)]
    chains = [(holder, name, getattr(holder, name)) for holder, name in holders if hasattr(holder, name)]
    for holder, name, chain in chains:
        own = functools.partial(mamba2, SimpleNamespace(**vars(code)))
        setattr(holder, name, own if name == MAMBA2 else alone(chain))
    try:
        yield
    finally:
        for holder, name, chain in chains:
            setattr(holder, name, chain)


def rows_of(ops: tuple[Op, ...]) -> tuple[int, int]:
    """Sequences, and the tokens of each: those of the largest attention kernel, of which most matmuls have the rows."""
    fused = [int(op.shape[2]) for op in ops if op.kind == "attention" and op.phase == "forward" and op.shape]
    rows: Counter[int] = Counter()
    for op in ops:
        if op.kind == "matmul" and op.phase == "forward" and op.shape and op.shape[3] == 1:
            rows[int(op.shape[0])] += int(op.count)
    total = rows.most_common(1)[0][0]
    length = max(fused, default=total // BATCH)
    return total // length, length


def traced(name: str, config: Mapping[str, Any], seq_len: int) -> tuple[Trace, str]:
    """The pass, and the attention that it ran."""
    built = architecture.build(config, name, batch=BATCH, seq_len=seq_len)
    with one_kernel_each(built.module):  # some modules hold their kernel
        built = architecture.build(config, name, batch=BATCH, seq_len=seq_len)
    takes = inspect.signature(built.module.forward).parameters
    refusals = []
    for choice in built.choices:
        labels = choice.get("decoder_input_ids", choice.get("input_ids"))
        inputs = choice | ({"labels": labels} if "labels" in takes and labels is not None else {})
        try:
            with one_kernel_each(built.module):
                found = trace(built.module, keyword_inputs=inputs, dtype="bf16")
        except Exception as error:  # noqa: BLE001 (a class can raise anything)
            refusals.append(error)
            continue
        return found, "flash2" if any(op.kind == "attention" for op in found.ops) else "unfused"
    raise refusals[0]


def record_of(name: str) -> dict[str, Any]:
    """What there is to record of one type; why it is left out."""
    try:
        config = config_of(name)
        model = model_from_config(config, name)
        if model.towers:
            return {"type": name, "why": "a whole of several models"}
        pass_, attention = traced(name, config, min(SEQ_LEN, model.learned_positions or SEQ_LEN))
    except Exception as error:  # noqa: BLE001 (a class can raise anything)
        return {"type": name, "why": " ".join(str(error).split())[:200]}
    batch, seq_len = (BATCH, SEQ_LEN) if model.vocab_size else rows_of(pass_.ops)
    if model.vocab_size and model.learned_positions:
        seq_len = min(seq_len, model.learned_positions)
    found = counts(pass_.ops) | {"saved_bytes": pass_.activation_bytes}
    run = {"attention": attention, "batch": batch, "seq_len": seq_len}
    return {"type": name, "config": read_fields(config), **run, **found}


def write(records: list[dict[str, Any]]) -> None:
    """Record the results; those of types that were not traced this time stay as they were."""
    known = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    merged = {record["type"]: record for record in [*known, *records] if "why" not in record}
    RECORD.write_text("".join(json.dumps(merged[n], separators=(",", ":")) + "\n" for n in sorted(merged)))


def main() -> int:
    """Trace every type; record on request."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="model types (default: all that are described)")
    parser.add_argument("--write", action="store_true", help=f"record the results in {RECORD.name}")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    record_of("llama")  # what the first pass imports, before the processes part
    for name in args.names or [name for name in family_ids() if name in known and name not in table()]:
        record = in_process(record_of, name)
        if "why" in record:
            print(f"{name}: {record['why']}", flush=True)
            continue
        print(f"{name}: {record['saved_bytes']:,} bytes kept, {record['flops_forward']:,.0f} FLOPs forward", flush=True)
        if args.write:
            write([record])
    return 0


if __name__ == "__main__":
    sys.exit(main())

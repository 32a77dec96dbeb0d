"""The terms of a step's time, in words."""

from __future__ import annotations

TERM_WORDS = {
    "kernel efficiency": "matmuls and attention below peak",
    "matmul": "matmuls",
    "attention": "attention",
    "memory_bound": "memory-bound ops (norms, activations, loss)",
    "recompute": "recompute",
    "tensor_parallel": "tensor-parallel communication",
    "context_parallel": "context-parallel communication",
    "expert_parallel": "expert-parallel communication",
    "pipeline_bubble": "pipeline bubble",
    "pipeline_transfer": "transfers between pipeline stages",
    "data_parallel": "exposed data-parallel communication",
    "launch": "waiting for kernel launches",
    "optimizer": "optimizer",
    "offload": "copies to and from the host, and the update there",
}

"""What crosses between device and host where tensors live there, and the update that runs there.

Optimizer: gradients go down, the host updates, 16-bit weights come up (ZeRO-Offload, arXiv:2101.06840, section 4).
Parameters: slices come up for every gather (ZeRO-Infinity, arXiv:2104.07857, section 5). Activations: what is kept for
backward goes down behind its layer, and comes up before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..arrays import Number, divide, where
from ..config.profile import on_engine
from ..config.run import TrainConfig
from ..config.stack import load_stack
from .op import Op, Role, step_op, total
from .weights import gradient_bytes


def transfer(name: str, payload: Number, count: Number, *, role: Role | None = None) -> Op:
    """Bytes between device and host, once per step `count` times."""
    return step_op(name, "transfer", bytes_sent=payload, count=count, role=role, kernels=0)


def update_on_host(train: TrainConfig, name: str, read: Number, written: Number, state: Number) -> list[Op]:
    """The update in host memory; `state` bytes of it are read from drives and written back where they live there."""
    found = [step_op(f"optimizer.{name}", "host", read, written, kernels=0)]
    if train.offload_to == "nvme":
        found.append(step_op("optimizer.swap", "nvme", state, state, kernels=0))
    return found


def offloaded_gradient_bytes(train: TrainConfig) -> int:
    """Bytes of a gradient on the host: DeepSpeed sums it there in fp32 (deepspeed/docs/memory.rst: 4 + 12)."""
    engine = train.keeps_masters and on_engine(train, load_stack(train.stack))
    return 4 if engine else gradient_bytes(train)


def host_transfers(train: TrainConfig, trained: Number, held: Number) -> list[Op]:
    """Gradients down, weights up: of the `trained` parameters that a rank updates, and the `held` ones of its slice.

    What moves beside the passes has no role; Megatron-LM and ZeRO-1 copy within the update.
    """
    es, ops = train.activation_bytes, []
    passes = where(train.pp > 1, 1, train.accumulation)
    if "optimizer" in train.offload:
        every = train.reduces_every_pass
        role: Role | None = None if every else "update"
        down = trained * offloaded_gradient_bytes(train)
        ops.append(transfer("offload.gradients", down, passes if every else 1, role=role))
        if "parameters" not in train.offload:
            ops.append(transfer("offload.weights", trained * es, 1, role="update"))
    if "parameters" in train.offload:
        twice = where(train.pp > 1, 1, 2)  # for the forward and the backward pass
        ops.append(transfer("offload.parameters", held * es, passes * twice))
        if train.offload_to == "nvme":
            ops.append(step_op("offload.swap", "nvme", held * es * passes * twice, trained * es, kernels=0))
    return ops


def activation_transfers(ops: Sequence[Op], layers: Sequence[int], share: Number) -> list[Op]:
    """What a layer of each kind keeps for backward goes down and comes up, in every micro batch, of a share of them."""
    found = []
    for kind, count in enumerate(layers):
        kept = total((op for op in ops if op.part == "layer" and op.layer_kind == kind), "saved_bytes")
        for phase in ("forward", "backward"):
            each = transfer("offload.activations", divide(kept, count), count * share)
            found.append(msgspec.structs.replace(each, part="layer", phase=phase, layer_kind=kind))
    return found

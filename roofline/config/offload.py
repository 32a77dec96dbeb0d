"""Tensors that live in host memory or on NVMe drives: which may, and what does not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arrays import first_where
from ..errors import RooflineError, unknown
from .optimizer import optimizer, optimizers
from .run import OFFLOADS, TrainConfig

if TYPE_CHECKING:
    from ..hardware import Device


def check_offload(train: TrainConfig) -> None:
    """Refuse an offload that contradicts the rest.

    Raises:
        RooflineError: Which, and what runs.
    """
    for word in train.offload:
        if word not in OFFLOADS:
            raise unknown("offload", word, (*OFFLOADS, "all"))
    if train.offload_to not in {"cpu", "nvme"}:
        raise unknown("place in offload_to:", str(train.offload_to), ("cpu", "nvme"))
    if "parameters" in train.offload and not train.shards_parameters:
        raise RooflineError(
            f"offload parameters with sharding {train.sharding}: weights go to the host where each rank keeps a slice "
            "and gathers layers: use --sharding zero3 or fsdp, or --offload optimizer"
        )
    if train.offload_layers is not None and "activations" not in train.offload:
        raise RooflineError("offload_layers are those whose activations go to the host: add --offload activations")
    how = optimizer(train.optimizer)
    if "optimizer" in train.offload and not how.on_host:
        able = ", ".join(name for name, each in optimizers().items() if each.on_host and each.coarse is None)
        pages = " (its -paged form leaves the device by itself)" if f"{train.optimizer}-paged" in optimizers() else ""
        raise RooflineError(
            f"offload optimizer with {train.optimizer}, whose update runs on the device alone{pages}: use --optimizer "
            f"with one of {able}"
        )
    if train.host_gb_per_s is not None and "optimizer" not in train.offload:
        raise RooflineError(
            "host_gb_per_s is of an update on the host: add --offload optimizer, or leave --host-bandwidth out"
        )
    if train.offload_to == "nvme":
        _check_nvme(train)
    elif train.nvme_gb_per_s is not None:
        raise RooflineError(
            "nvme_gb_per_s without offload_to nvme: add --offload-to nvme, or leave --nvme-bandwidth out"
        )


def _check_nvme(train: TrainConfig) -> None:
    """ZeRO-Infinity (arXiv:2104.07857) alone swaps to drives: optimizer state and parameters, under ZeRO-3."""
    if not {*train.offload} <= {"optimizer", "parameters"} or not train.offload:
        raise RooflineError(
            "offload_to nvme takes the optimizer and parameters: use --offload all or --offload optimizer"
        )
    if train.sharding not in {"zero3", "fsdp"}:
        raise RooflineError(f"offload_to nvme is ZeRO-3's, and sharding is {train.sharding}: use --sharding zero3")
    if train.nvme_gb_per_s is None:
        raise RooflineError(
            "offload_to nvme needs the rate of a host's drives, which differ: give --nvme-bandwidth GB/s"
        )
    bad = first_where(1 - (train.nvme_gb_per_s > 0), train.nvme_gb_per_s)
    if bad is not None:
        raise RooflineError(f"nvme_gb_per_s must be above 0, got {bad[0]!r}")


def check_host(train: TrainConfig, device: Device) -> None:
    """Refuse an offload from a device that has no host memory of its own beside it, or no link that is published.

    Raises:
        RooflineError: Which.
    """
    if not (train.offload or optimizer(train.optimizer).paged):
        return
    what = f"offload {', '.join(train.offload)}" if train.offload else f"optimizer {train.optimizer}"
    if device.kind == "cpu" or (device.memory is not None and device.memory.unified):
        raise RooflineError(
            f"{what}: {device.id} shares its memory with the host: there is nowhere to go, leave it out"
        )
    if not {"pcie", "c2c"} & device.links.keys():
        raise RooflineError(
            f"{what}: {device.id} has no published link to its host: use a device that has, or leave it out"
        )


def offload_note(train: TrainConfig, device: Device | None) -> str | None:
    """What is assumed of the host, in a sentence; None where nothing runs there."""
    if "optimizer" not in train.offload or train.host_gb_per_s is not None or device is None:
        return None
    from ..hardware.host_memory import host_memory

    found = host_memory(device)
    return f"assumed: the update on the host moves {found.gb_per_s:.0f} GB/s of {found.words} (--host-bandwidth)"

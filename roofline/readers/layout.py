"""The one law behind every framework: devices = tp x pp x cp x dp, global batch = micro batch x accumulation x dp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RooflineError, shown

COUNTS = (
    *("tp", "pp", "cp", "ep", "dp", "num_devices", "micro_batch", "batch_per_device", "global_batch"),
    *("accumulation", "accumulation_of_all", "dp_shard", "replicas"),
)


def solve(
    said: Mapping[str, Any], given: Mapping[str, Any], where: str, *, complete: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Degrees, devices and batches of a run, with what was assumed as sentences.

    Args:
        said: What the files state: degrees, ``num_devices``, ``dp``, ``micro_batch`` or ``batch_per_device``,
            ``global_batch``, ``accumulation`` (of a replica) or ``accumulation_of_all`` (of all replicas together),
            ``dp_shard`` or ``replicas`` (copies of what is sharded).
        given: Options of the command line, which override.
        where: The file, for errors.
        complete: Whether one micro batch per replica is the global batch where nothing is said.

    Raises:
        RooflineError: A layout that cannot run as written.
    """
    o: dict[str, Any] = {**said, **given}
    for name in COUNTS:
        if not isinstance(o.get(name), int | float | None):
            raise RooflineError(f"{where} says {shown(o[name])} for {name}, which is no number")
    notes: list[str] = []
    tp, pp, cp = (o.get(name) or 1 for name in ("tp", "pp", "cp"))
    group = tp * pp * cp
    devices, dp = _devices(o, given, group, notes, where)
    o |= {"tp": tp, "pp": pp, "cp": cp, "num_devices": devices, "dp": dp}
    _check_experts(o, where, stated=said.get("num_devices") is not None or "num_devices" in given)
    _shard_group(o, given, where)
    _batches(o, said, given, complete=complete)
    return o, notes


def _devices(o: dict[str, Any], given: Mapping[str, Any], group: int, notes: list[str], where: str) -> tuple[int, int]:
    """Devices in all, and replicas of data."""
    devices, dp = o.get("num_devices"), o.get("dp")
    degrees = " x ".join(f"{name} {o[name]}" for name in ("tp", "pp", "cp") if (o.get(name) or 1) > 1)
    if devices is None and dp is None:
        ep = o.get("ep") or 1
        spread = cp_tp(o)
        fewest = next((n for n in range(1, ep + 1) if n * spread % ep == 0), ep)
        devices = group * fewest
        notes.append(
            f"assumes {devices} device{'s' * (devices != 1)}, the fewest this layout runs on: "
            "the file does not say how many (--num-devices)"
        )
        return devices, fewest
    if devices is None:
        assert dp is not None
        return group * int(dp), int(dp)
    if devices % group:
        raise RooflineError(
            f"{where} cannot run as written: {devices} device{'s' * (devices != 1)} for {degrees}, which take a "
            f"multiple of {group}: add --num-devices {group * -(-devices // group)}"
        )
    if dp is not None and group * dp != devices:
        if "num_devices" in given or any(name in given for name in ("tp", "pp", "cp")):
            if "dp" in given:
                raise RooflineError(
                    f"{devices} devices are not tp x pp x cp x dp = {group * dp}: leave --dp or --num-devices out"
                )
        else:
            raise RooflineError(
                f"{where} cannot run as written: {devices} devices, but {degrees + ' x ' if degrees else ''}dp {dp} = "
                f"{group * dp}: add --num-devices {group * dp}"
            )
    return devices, devices // group


def cp_tp(o: Mapping[str, Any]) -> int:
    """Ranks of one replica of data over which experts may spread: cp, and tp where experts are not split over it."""
    return (o.get("cp") or 1) * ((o.get("tp") or 1) if o.get("etp") == 1 else 1)


def _check_experts(o: dict[str, Any], where: str, *, stated: bool) -> None:
    """Whether the experts' degree divides the ranks they spread over."""
    ep = o.get("ep") or 1
    ranks = o["dp"] * (o.get("cp") or 1) * (o.get("tp") or 1)
    if ep > 1 and ranks % ep:
        need = o["pp"] * max(ep, (o.get("cp") or 1) * (o.get("tp") or 1))
        stages = f" x pp {o['pp']}" if o["pp"] > 1 else ""
        raise RooflineError(
            f"{where} cannot run as written: ep {ep}{stages} on {o['num_devices']} devices, of which {ranks} share the "
            f"experts: add --num-devices {need}, or a smaller --ep" + ("" if stated else " (devices were assumed)")
        )


def _shard_group(o: dict[str, Any], given: Mapping[str, Any], where: str) -> None:
    """Ranks that share one copy, of a hybrid whose number of copies the file states."""
    replicas, ranks = o.pop("replicas", None), o["dp"] * o["cp"]
    if "sharding" in given and "dp_shard" not in given:  # the file's groups are of the file's sharding
        o["dp_shard"] = None
    elif o.get("dp_shard") is None and replicas is not None:
        if ranks % replicas:
            raise RooflineError(
                f"{where} cannot run as written: {replicas} copies of what is sharded do not divide dp x cp = {ranks}: "
                f"add --num-devices {o['tp'] * o['pp'] * replicas * -(-ranks // replicas)}"
            )
        o["dp_shard"] = ranks // replicas


def _batches(o: dict[str, Any], said: Mapping[str, Any], given: Mapping[str, Any], *, complete: bool) -> None:
    """Micro batch and global batch: two of three give the third."""
    dp = o["dp"]
    micro = given.get("micro_batch") or said.get("micro_batch")
    per_device = said.get("batch_per_device")
    if micro is None and per_device is not None:
        sequences = per_device * o["tp"] * o["cp"] * o["pp"]
        micro = max(int(sequences), 1)
    accumulation = said.get("accumulation")
    if said.get("accumulation_of_all") is not None:
        accumulation = max(said["accumulation_of_all"] // dp, 1)
    total = given.get("global_batch") or said.get("global_batch")
    if micro is None and total is not None and accumulation is not None and total % (accumulation * dp) == 0:
        micro = total // (accumulation * dp)
    if total is None and micro is not None and (complete or accumulation is not None):
        total = micro * (accumulation or 1) * dp
    o["micro_batch"], o["global_batch"] = micro, total

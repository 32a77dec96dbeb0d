"""The CPU as this process may use it: cores under affinity and cgroup limits, caches, vector units.

Reads /proc and /sys below `root`, so that recorded machines can be replayed. Other systems than Linux answer
through psutil with less detail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .microarchitecture import by_archspec, by_numbers

# Model names that virtual machines print instead of the chip's own.
_HIDDEN = re.compile(
    r"^(AMD EPYC|AMD EPYC-\w+ Processor|AMD EPYC Processor.*|Intel\(R\) Xeon\(R\)( Processor.*| CPU)?"
    r"|QEMU.*|.*KVM.*"
    r"|Common .* processor|Virtual .*|Intel Xeon Processor.*)( @ [\d.]+GHz)?$",
    re.IGNORECASE,
)
_NO_LIMIT = 2**60  # bytes: version 1 of cgroups writes 2^63 less a page where there is no limit
_VECTOR = ("amx_bf16", "amx_tile", "avx512_bf16", "bf16", "avx512_vnni", "avx512f", "avx2", "sve2", "sve", "asimd")


class CpuCache(msgspec.Struct, frozen=True, kw_only=True):
    """One level of data or unified cache: how many there are and how large each is."""

    level: int
    count: int
    kib_each: float


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """The CPU of this machine; None is "not reported"."""

    model_name: str | None
    microarchitecture: str | None
    vendor: str | None
    virtual: bool  # the system says that it runs under a hypervisor
    model_hidden: bool  # the model name is a placeholder
    sockets: int
    logical_cpus: int  # of the machine
    physical_cores: int  # of the machine
    threads_per_core: int
    available_cpus: int  # logical CPUs in this process's affinity
    cgroup_cpus: float | None  # CPU quota, in CPUs
    available_cores: int  # physical cores under affinity and quota
    core_kinds: dict[str, int] = {}  # hybrid chips: physical cores by kind
    base_mhz: float | None = None
    max_mhz: float | None = None
    vector: tuple[str, ...] = ()
    caches: tuple[CpuCache, ...] = ()
    numa_nodes: int = 1
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None  # cgroup limit, where it is below the machine's memory
    notes: tuple[str, ...] = ()


def parse_list(text: str) -> set[int]:
    """Numbers of a kernel CPU list.

    >>> sorted(parse_list("0-2,7"))
    [0, 1, 2, 7]
    """
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


class Files:
    """Reads files below a root; a missing one is None."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def text(self, path: str) -> str | None:
        """Contents without surrounding space."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """An integer, None where the file is missing or holds none ("max")."""
        text = self.text(path)
        return int(text) if text and text.lstrip("-").isdigit() else None

    def names(self, path: str, pattern: str) -> list[str]:
        """Names in a folder that fit a pattern."""
        try:
            return sorted(item.name for item in (self.root / path).iterdir() if re.fullmatch(pattern, item.name))
        except OSError:
            return []


def read_cpu(root: str = "/", affinity: set[int] | None = None, microarchitecture: str | None = None) -> Cpu:
    """The CPU of this machine, or of the recorded one below `root`.

    Args:
        root: Where /proc and /sys lie.
        affinity: Logical CPUs this process may use; by default what the system says.
        microarchitecture: archspec's name; by default detected where `root` is this machine.
    """
    files = Files(root)
    info = _cpuinfo(files.text("proc/cpuinfo") or "")
    topology = _topology(files)
    if not topology:
        return _elsewhere(info)
    logical = set(topology)
    allowed = (affinity if affinity is not None else _affinity(logical)) & logical or logical
    quota = _cgroup_cpus(files)
    cores = {core for cpu, core in topology.items() if cpu in allowed}
    physical = len(set(topology.values()))
    usable = len(cores) if quota is None else min(len(cores), max(int(-(-quota // 1)), 1))
    flags = set((info.get("flags") or info.get("Features") or "").split())
    model = info.get("model name")
    memory, limit = _memory(files)
    virtual = "hypervisor" in flags or files.text("sys/hypervisor/type") is not None
    kinds = _core_kinds(files, topology)
    cpu = Cpu(
        model_name=model,
        microarchitecture=microarchitecture or (by_archspec() if root == "/" else None) or by_numbers(info),
        vendor=info.get("vendor_id") or info.get("CPU implementer"),
        virtual=virtual,
        model_hidden=model is not None and _HIDDEN.match(model) is not None,
        sockets=max(len({core[0] for core in topology.values()}), 1),
        logical_cpus=len(logical),
        physical_cores=physical,
        threads_per_core=max(round(len(logical) / physical), 1),
        available_cpus=len(allowed),
        cgroup_cpus=quota,
        available_cores=usable,
        core_kinds=kinds,
        base_mhz=_clock(files, "base_frequency") or _clock_in_name(model),
        max_mhz=_clock(files, "cpuinfo_max_freq"),
        vector=tuple(name for name in _VECTOR if name in flags),
        caches=_caches(files, logical),
        numa_nodes=max(len(files.names("sys/devices/system/node", r"node\d+")), 1),
        memory_bytes=memory,
        memory_limit_bytes=limit,
    )
    return msgspec.structs.replace(cpu, notes=tuple(_notes(cpu)))


def _cpuinfo(text: str) -> dict[str, str]:
    """Fields of the first processor of /proc/cpuinfo."""
    first = text.split("\n\n", 1)[0]
    fields = (line.partition(":") for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in fields}


def _topology(files: Files) -> dict[int, tuple[int, int]]:
    """(socket, core) of every online logical CPU."""
    base = "sys/devices/system/cpu"
    online = files.text(f"{base}/online")
    topology = {}
    for name in files.names(base, r"cpu\d+"):
        cpu = int(name[3:])
        if online is not None and cpu not in parse_list(online):
            continue
        socket = files.number(f"{base}/{name}/topology/physical_package_id")
        core = files.number(f"{base}/{name}/topology/core_id")
        siblings = files.text(f"{base}/{name}/topology/thread_siblings_list")
        if siblings:  # core ids repeat between dies; the lowest sibling never does
            core = min(parse_list(siblings))
        topology[cpu] = (max(socket or 0, 0), cpu if core is None else core)
    return topology


def _affinity(logical: set[int]) -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # macOS, Windows
        return logical


def _cgroup_cpus(files: Files) -> float | None:
    """The tightest CPU quota of this process's cgroups, in CPUs; None is no limit."""
    limits = []
    for controllers, path in _cgroups(files):
        for folder in _up(path):
            if controllers == "":
                quota = (files.text(f"sys/fs/cgroup{folder}/cpu.max") or "max").split()
                numbers = [int(part) for part in (*quota, "100000")[:2] if part.isdigit()]
                if len(numbers) == 2 and numbers[1] > 0:  # "max", or what is no quota, is no limit
                    limits.append(numbers[0] / numbers[1])
            elif "cpu" in controllers.split(","):
                for mount in dict.fromkeys(("cpu", controllers)):  # "cpu,cpuacct" without a link to it
                    base = f"sys/fs/cgroup/{mount}{folder}"
                    allowed = files.number(f"{base}/cpu.cfs_quota_us")
                    period = files.number(f"{base}/cpu.cfs_period_us")
                    if allowed is not None and allowed > 0 and period:
                        limits.append(allowed / period)
    return min(limits, default=None)


def _cgroups(files: Files) -> list[tuple[str, str]]:
    """(controllers, path) of each hierarchy; version 2 names no controllers. A container sees its root."""
    lines = (files.text("proc/self/cgroup") or "").splitlines()
    found = [(line.split(":", 2)[1], line.split(":", 2)[2]) for line in lines if line.count(":") >= 2]
    return found or [("", "/"), ("cpu", "/"), ("memory", "/")]


def _up(path: str) -> list[str]:
    """A cgroup path and its parents up to the root.

    >>> _up("/a/b")
    ['/a/b', '/a', '']
    """
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[:n]) for n in range(len(parts), 0, -1)] + [""]


def _memory(files: Files) -> tuple[int | None, int | None]:
    """Total memory, and the cgroup's limit where it is lower."""
    match = re.search(r"MemTotal:\s+(\d+) kB", files.text("proc/meminfo") or "")
    total = int(match[1]) * 1024 if match else _pages() if files.root == Path("/") else None
    limits = []
    for controllers, path in _cgroups(files):
        for folder in _up(path):
            name = f"sys/fs/cgroup{folder}/memory.max"
            if "memory" in controllers.split(","):
                name = f"sys/fs/cgroup/memory{folder}/memory.limit_in_bytes"
            limit = files.number(name)
            if limit is not None and limit < (total or _NO_LIMIT):
                limits.append(limit)
    return total, min(limits, default=None)


def _pages() -> int | None:
    """Total memory of this machine as the C library says it, where /proc cannot be read."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _clock(files: Files, name: str) -> float | None:
    khz = files.number(f"sys/devices/system/cpu/cpu0/cpufreq/{name}")
    return None if khz is None else khz / 1000


def _clock_in_name(model: str | None) -> float | None:
    match = re.search(r"@ ([\d.]+)GHz", model or "")
    return float(match[1]) * 1000 if match else None


def _caches(files: Files, logical: set[int]) -> tuple[CpuCache, ...]:
    """Data and unified caches, each instance counted once."""
    base = "sys/devices/system/cpu"
    instances: dict[int, dict[str, float]] = {}
    for cpu in sorted(logical):
        for index in files.names(f"{base}/cpu{cpu}/cache", r"index\d+"):
            folder = f"{base}/cpu{cpu}/cache/{index}"
            size = re.fullmatch(r"(\d+)([KM]?)", files.text(f"{folder}/size") or "")
            level = files.number(f"{folder}/level")
            if size is None or level is None or files.text(f"{folder}/type") == "Instruction":
                continue
            kib = int(size[1]) * (1024 if size[2] == "M" else 1)
            shared = files.text(f"{folder}/shared_cpu_list") or str(cpu)
            instances.setdefault(level, {})[shared] = kib
    return tuple(
        CpuCache(level=level, count=len(sizes), kib_each=sum(sizes.values()) / len(sizes))
        for level, sizes in sorted(instances.items())
    )


def _core_kinds(files: Files, topology: Mapping[int, tuple[int, int]]) -> dict[str, int]:
    """Physical cores by kind on hybrid chips (Intel's two kinds; Arm's by capacity)."""
    kinds: dict[str, int] = {}
    for name, kind in (("cpu_core", "performance"), ("cpu_atom", "efficiency")):
        cpus = files.text(f"sys/devices/{name}/cpus")
        if cpus:
            kinds[kind] = len({topology[cpu] for cpu in parse_list(cpus) if cpu in topology})
    if kinds:
        return kinds
    capacities: dict[int, set[tuple[int, int]]] = {}
    for cpu, core in topology.items():
        capacity = files.number(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity")
        if capacity is not None:
            capacities.setdefault(capacity, set()).add(core)
    if len(capacities) < 2:
        return {}
    return {f"capacity {capacity}": len(cores) for capacity, cores in sorted(capacities.items(), reverse=True)}


def _elsewhere(info: Mapping[str, str]) -> Cpu:
    """A system without /sys (macOS, Windows): what psutil and the platform module say."""
    import platform

    import psutil

    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    return Cpu(
        model_name=info.get("model name") or platform.processor() or None,
        microarchitecture=by_archspec(),
        vendor=info.get("vendor_id"),
        virtual=False,
        model_hidden=False,
        sockets=1,
        logical_cpus=logical,
        physical_cores=physical,
        threads_per_core=max(round(logical / physical), 1),
        available_cpus=logical,
        cgroup_cpus=None,
        available_cores=physical,
        memory_bytes=psutil.virtual_memory().total,
        notes=("little detail on this system: caches and limits are not read",),
    )


def _notes(cpu: Cpu) -> list[str]:
    notes = []
    if cpu.model_hidden or (cpu.virtual and cpu.model_name is None):
        notes.append("virtual machine that hides its model: the microarchitecture comes from its features")
    if cpu.base_mhz is None and cpu.max_mhz is None:
        notes.append("no clock is reported: a peak is measured rather than guessed")
    if cpu.virtual and cpu.threads_per_core == 1:
        notes.append("a virtual CPU may be one hardware thread of a shared core")
    if cpu.available_cpus < cpu.logical_cpus:
        notes.append(f"affinity leaves {cpu.available_cpus} of {cpu.logical_cpus} logical CPUs")
    if cpu.cgroup_cpus is not None and cpu.cgroup_cpus < cpu.available_cpus:
        notes.append(f"the container's quota is {cpu.cgroup_cpus:g} CPUs: it is used")
    if cpu.memory_limit_bytes is not None:
        notes.append(f"the container's memory limit is {cpu.memory_limit_bytes / 2**30:.1f} GiB: it is used")
    if cpu.core_kinds:
        kinds = ", ".join(f"{count} {kind}" for kind, count in cpu.core_kinds.items())
        notes.append(f"hybrid: {kinds} cores")
    return notes

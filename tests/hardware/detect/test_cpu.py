"""The CPU under affinity and cgroup limits, on machines written out as /proc and /sys."""

import os
from pathlib import Path

import pytest

from roofline.hardware.detect.cpu import _pages, parse_list, read_cpu

GENOA_GUEST = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu hypervisor avx2 avx512f avx512_bf16

processor\t: 1
"""
SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480+
stepping\t: 8
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_bf16
"""
GRAVITON3 = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


class Machine:
    """Writes a machine's /proc and /sys below a folder."""

    def __init__(self, root: Path, cpuinfo: str, *, cores: int, threads: int = 1, sockets: int = 1) -> None:
        self.root = root
        self.write("proc/cpuinfo", cpuinfo)
        self.write("proc/meminfo", "MemTotal:       67108864 kB\nMemFree: 1 kB\n")
        count = cores * threads * sockets
        self.write("sys/devices/system/cpu/online", f"0-{count - 1}")
        for cpu in range(count):
            core = cpu % (cores * sockets)  # siblings are numbered after all first threads, as Linux does
            base = f"sys/devices/system/cpu/cpu{cpu}"
            siblings = ",".join(str(core + thread * cores * sockets) for thread in range(threads))
            self.write(f"{base}/topology/physical_package_id", str(core // cores))
            self.write(f"{base}/topology/core_id", str(core % cores))
            self.write(f"{base}/topology/thread_siblings_list", siblings)
            self.write(f"{base}/cache/index0/level", "1")
            self.write(f"{base}/cache/index0/type", "Data")
            self.write(f"{base}/cache/index0/size", "32K")
            self.write(f"{base}/cache/index0/shared_cpu_list", siblings)
            self.write(f"{base}/cache/index1/level", "1")
            self.write(f"{base}/cache/index1/type", "Instruction")
            self.write(f"{base}/cache/index1/size", "32K")
            self.write(f"{base}/cache/index3/level", "3")
            self.write(f"{base}/cache/index3/type", "Unified")
            self.write(f"{base}/cache/index3/size", "32M")
            self.write(f"{base}/cache/index3/shared_cpu_list", f"socket {core // cores}")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def read(self, affinity: set[int] | None = None):  # type: ignore[no-untyped-def]
        everything = set(range(4096))
        return read_cpu(str(self.root), affinity=everything if affinity is None else affinity)


def test_threads_are_not_cores_and_caches_are_counted_once(tmp_path: Path) -> None:
    cpu = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=4, threads=2, sockets=2).read()
    assert (cpu.sockets, cpu.physical_cores, cpu.logical_cpus, cpu.threads_per_core) == (2, 8, 16, 2)
    assert cpu.available_cores == 8
    assert [(c.level, c.count, c.kib_each) for c in cpu.caches] == [(1, 8, 32.0), (3, 2, 32 * 1024.0)]
    assert cpu.memory_bytes == 64 * 2**30


def test_affinity_of_both_threads_of_one_core_is_one_core(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=4, threads=2)
    assert machine.read({0, 4}).available_cores == 1  # siblings
    cpu = machine.read({0, 1, 2})
    assert (cpu.available_cores, cpu.available_cpus) == (3, 3)
    assert any("affinity leaves 3 of 8" in note for note in cpu.notes)


def test_cgroup_version_2_quota_of_any_parent_counts_and_is_rounded_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=8)
    machine.write("proc/self/cgroup", "0::/pod/container")
    machine.write("sys/fs/cgroup/pod/container/cpu.max", "max 100000")
    machine.write("sys/fs/cgroup/pod/cpu.max", "250000 100000")
    machine.write("sys/fs/cgroup/pod/container/memory.max", str(8 * 2**30))
    cpu = machine.read()
    assert cpu.cgroup_cpus == 2.5
    assert cpu.available_cores == 3
    assert cpu.memory_limit_bytes == 8 * 2**30
    assert any("quota is 2.5 CPUs" in note for note in cpu.notes)


def test_a_quota_that_is_no_number_is_no_limit(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=8)
    machine.write("proc/self/cgroup", "0::/pod")
    machine.write("sys/fs/cgroup/pod/cpu.max", "garbage 100000")
    assert machine.read().cgroup_cpus is None


def test_cgroup_version_1_mounted_under_both_controllers(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=8)
    machine.write("proc/self/cgroup", "3:cpu,cpuacct:/job")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "150000")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert machine.read().cgroup_cpus == 1.5


def test_cgroup_version_1(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=8)
    machine.write("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "400000")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(2**30))
    cpu = machine.read()
    assert (cpu.cgroup_cpus, cpu.available_cores, cpu.memory_limit_bytes) == (4.0, 4, 2**30)


def test_hidden_model_of_a_virtual_machine_is_recognised(tmp_path: Path) -> None:
    cpu = Machine(tmp_path, GENOA_GUEST, cores=2).read()
    assert cpu.virtual
    assert cpu.model_hidden
    assert cpu.microarchitecture == "zen4"
    assert any("hides its model" in note for note in cpu.notes)
    named = Machine(tmp_path / "named", SAPPHIRE_RAPIDS, cores=2).read()
    assert not named.model_hidden
    assert named.microarchitecture == "sapphirerapids"


def test_clock_comes_from_the_system_or_the_name_never_from_the_moment(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS.replace("8480+", "8280 CPU @ 2.70GHz") + "cpu MHz : 400.0", cores=2)
    assert machine.read().base_mhz == 2700
    machine.write("sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2000000")
    assert machine.read().base_mhz == 2000


def test_hybrid_cores_are_counted_apart(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=4)
    machine.write("sys/devices/cpu_core/cpus", "0-1")
    machine.write("sys/devices/cpu_atom/cpus", "2-3")
    assert machine.read().core_kinds == {"performance": 2, "efficiency": 2}
    arm = Machine(tmp_path / "arm", GRAVITON3, cores=4)
    for cpu, capacity in enumerate((1024, 1024, 512, 512)):
        arm.write(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", str(capacity))
    assert arm.read().core_kinds == {"capacity 1024": 2, "capacity 512": 2}


def test_kernel_lists() -> None:
    assert parse_list("0-3,8,10-11") == {0, 1, 2, 3, 8, 10, 11}
    assert parse_list("") == set()


def test_this_machine_is_read() -> None:
    cpu = read_cpu()
    if hasattr(os, "sysconf") and cpu.memory_bytes is not None:  # the kernel's own figure leaves a little out
        assert _pages() == pytest.approx(cpu.memory_bytes, rel=0.05)
    assert 1 <= cpu.available_cores <= cpu.physical_cores <= cpu.logical_cpus
    if hasattr(os, "sched_getaffinity"):
        assert cpu.available_cpus <= len(os.sched_getaffinity(0)) or cpu.available_cpus == cpu.logical_cpus


def test_no_limit_is_no_memory_where_the_machine_does_not_say_its_own(tmp_path: Path) -> None:
    """The kernel's word for none (version 1): 2^63 less a page."""
    machine = Machine(tmp_path, SAPPHIRE_RAPIDS, cores=2)
    (machine.root / "proc/meminfo").unlink()
    machine.write("proc/self/cgroup", "4:memory:/job")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(2**63 - 4096))
    cpu = machine.read()
    assert (cpu.memory_bytes, cpu.memory_limit_bytes) == (None, None)

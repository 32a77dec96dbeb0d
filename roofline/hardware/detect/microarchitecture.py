"""Names a CPU's microarchitecture: archspec first, then the model numbers of chips with masked features."""

from __future__ import annotations

from collections.abc import Mapping

# Arm CPUs print no model name; MIDR implementer and part (Arm Neoverse technical reference manuals).
_ARM_PARTS = {
    ("0x41", "0xd0c"): "neoverse_n1",
    ("0x41", "0xd40"): "neoverse_v1",
    ("0x41", "0xd49"): "neoverse_n2",
    ("0x41", "0xd4f"): "neoverse_v2",
    ("0x46", "0x001"): "a64fx",
}
# Family -> ((first model, last model), name); Linux arch/x86/kernel/cpu/amd.c.
_AMD = {
    23: (((0x00, 0x2F), "zen"), ((0x30, 0xAF), "zen2")),
    25: (
        ((0x00, 0x0F), "zen3"),
        ((0x10, 0x1F), "zen4"),
        ((0x20, 0x5F), "zen3"),
        ((0x60, 0x7F), "zen4"),
        ((0xA0, 0xAF), "zen4"),
    ),
    26: (((0x00, 0xFF), "zen5"),),
}
# Model of family 6; Linux arch/x86/include/asm/intel-family.h.
_INTEL = {
    63: "haswell",
    79: "broadwell",
    86: "broadwell",
    94: "skylake",
    158: "skylake",
    106: "icelake",
    108: "icelake",
    143: "sapphirerapids",
    207: "sapphirerapids",  # Emerald Rapids: the same core
    173: "sapphirerapids",  # Granite Rapids: the same rates, and AMX-FP16
    151: "alderlake",
    154: "alderlake",
    183: "alderlake",
    191: "alderlake",
    197: "arrowlake",
    198: "arrowlake",
}
_CASCADE_LAKE_STEPPING = 5  # model 85 is Skylake-SP below it


def by_numbers(info: Mapping[str, str]) -> str | None:
    """The name that /proc/cpuinfo's numbers say, in archspec's words.

    >>> by_numbers({"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17"})
    'zen4'
    """
    if "CPU part" in info:
        return _ARM_PARTS.get((info.get("CPU implementer", ""), info["CPU part"]))
    numbers = [info.get(key, "") for key in ("cpu family", "model", "stepping")]
    if not (numbers[0].isdigit() and numbers[1].isdigit()):
        return None
    family, model = int(numbers[0]), int(numbers[1])
    if info.get("vendor_id") == "AuthenticAMD":
        return next((name for (low, high), name in _AMD.get(family, ()) if low <= model <= high), None)
    if info.get("vendor_id") == "GenuineIntel" and family == 6:
        if model == 85:
            newer = numbers[2].isdigit() and int(numbers[2]) >= _CASCADE_LAKE_STEPPING
            return "cascadelake" if newer else "skylake_avx512"
        return _INTEL.get(model)
    return None


def by_archspec() -> str | None:
    """Archspec's name of this machine's CPU; None where it only knows the instruction set level."""
    import warnings

    try:
        import archspec.cpu

        with warnings.catch_warnings(action="ignore"):  # of a /proc that is not there
            host = archspec.cpu.host()
    except Exception:  # noqa: BLE001  (an unknown chip must not break detection)
        return None
    return None if host.vendor == "generic" else str(host.name)

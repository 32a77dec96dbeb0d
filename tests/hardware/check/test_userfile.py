"""A user's own device file or board: one line with file, key or row, value and rule."""

from pathlib import Path

import pytest

from roofline.hardware import HardwareError, load_device

HEAD = "id,name,architecture,variant,units,boost_mhz,bus_bits,gbit_per_pin,gb_per_s,memory,memory_gib,power_w,kind,"
HEAD += "confidence,sources,stated_tflops,stated_in"
ROW = "my-4080,NVIDIA GeForce RTX 4080,ada,geforce,76,2505,256,22.4,716.8,GDDR6X,16,320,desktop,medium,"
ROW += "sheet: page 1,fp16=97.5,sheet"


def table(folder: Path, *rows: str) -> str:
    path = folder / "boards.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    return str(path)


def refusal(path: str, message: str, begins: str) -> str:
    """The one line that refuses a file: it matches `message`, and says first where it is."""
    with pytest.raises(HardwareError, match=message) as error:
        load_device(path)
    line = str(error.value)
    assert line.startswith(begins)
    assert "\n" not in line
    return line


def test_a_board_of_ones_own(tmp_path: Path) -> None:
    path = table(tmp_path, ROW)
    assert load_device(path).peaks["bf16"] == pytest.approx(97.5e12, rel=1e-3)
    assert load_device(f"{path}:my-4080").memory_bandwidth_bytes_per_s == 716.8e9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fp16=97.5", "fp16=195", r"boards.csv, row my-4080: stated_tflops.fp16 = 195: is the 2x sparse figure"),
        ("fp16=97.5", "fp16=105", r"row my-4080: stated_tflops.fp16 = 105: units x FLOPs per cycle x clock is 97.47"),
        ("716.8", "0.7168", r"row my-4080: memory.bandwidth.gb_per_s = 0.7168: too small .*give GB/s"),
        ("2505", "2.505", r"row my-4080: .*give MHz"),
        ("ada", "adda", r"row my-4080: unknown architecture 'adda': did you mean 'ada'"),
        (",76,", ",lots,", r"row my-4080: units = 'lots': expected `int`"),
        ("medium", "high", r"row my-4080: .*confidence high"),
    ],
)
def test_mistakes_name_file_row_figure_and_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ROW
    path = table(tmp_path, ROW.replace(old, new, 1))
    assert refusal(path, message, f"{path}, row my-4080: ").count("row my-4080") == 1


def test_which_row_is_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, ROW, ROW.replace("my-4080", "other"))
    with pytest.raises(HardwareError, match=r"has 2 boards: name one, e\.g\. .*boards\.csv:my-4080"):
        load_device(path)
    with pytest.raises(HardwareError, match="no board 'mine'"):
        load_device(f"{path}:mine")
    with pytest.raises(HardwareError, match="no rows below its heading"):
        load_device(table(tmp_path))
    with pytest.raises(HardwareError, match="No such file"):
        load_device(f"{tmp_path}/absent.csv:x")


OWN = """
id = "my-h100"
name = "My H100"
vendor = "NVIDIA"
kind = "gpu"
architecture = "hopper"
confidence = "medium"
[sources]
sheet = "my own sheet"
[peak]
bf16 = { tflops = 800, engine = "tensor core", source = "sheet" }
[memory]
type = "HBM3"
capacity = { mib = 81559, source = "sheet" }
bandwidth = { gb_per_s = 3350, source = "assumes the datasheet" }
"""


def written(folder: Path, text: str) -> str:
    path = folder / "my.toml"
    path.write_text(text)
    return str(path)


def test_own_file_works(tmp_path: Path) -> None:
    device = load_device(written(tmp_path, OWN))
    assert device.peak_flops_per_s("bf16") == 800e12
    assert device.measured.gemm.origin == "architecture"
    with pytest.raises(HardwareError, match="no published link"):
        _ = device.scale_up_bytes_per_s
    with pytest.raises(HardwareError, match="no network figure"):
        _ = device.network_bytes_per_s


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tflops = 800", "tflops = 1979", r"my.toml: peak.bf16.tflops = 1979.*sparse.*989.4"),
        ("tflops = 800", "tflops = 800e12", r"peak.bf16.tflops = 8.*give TFLOP/s"),
        ("tflops = 800", "tflops = -3", r"peak.bf16.tflops = -3.*positive"),
        ("tflops = 800", 'tflops = "fast"', r"my.toml: peak.bf16.tflops = 'fast': expected `float`, got `str`"),
        ("gb_per_s = 3350", "gb_per_s = 3350e9", r"memory.bandwidth.gb_per_s = .*give GB/s"),
        ("gb_per_s = 3350", "gb_per_s = 0.335", r"memory.bandwidth.gb_per_s = 0.335.*TB/s"),
        ("gb_per_s = 3350", "tb_per_s = 3.35", r"memory.bandwidth.tb_per_s: unknown key.*allowed: gb_per_s"),
        ("mib = 81559", "mib = 80", r"memory.capacity.mib = 80.*GiB"),
        ('source = "sheet" }\n[memory]', 'source = "shet" }\n[memory]', r"peak.bf16.source = 'shet': no such key"),
        (', source = "sheet" }\n[memory]', " }\n[memory]", r"peak.*source: missing \(every figure names its source\)"),
        ('[memory]\ntype = "HBM3"\n', "[memory]\n", r"memory.type: missing"),
        ('kind = "gpu"', 'kind = "gpgpu"', r"kind = 'gpgpu': invalid enum value"),
        (
            'architecture = "hopper"',
            'architecture = "hoper"',
            r"architecture = 'hoper': unknown, did you mean 'hopper'",
        ),
        ("bf16 = {", "bf17 = {", r"peak.bf17: unknown key, did you mean 'bf16'\? \(allowed: bf16, "),
        ('kind = "gpu"', 'kind = "gpuu"', r"kind = 'gpuu': .*did you mean 'gpu'\? \(allowed: .*tpu\)"),
        ("tflops = 800", "tflops = 0.8", r"peak.bf16.tflops = 0.8: hopper devices .* 148 to 989.4: give dense"),
        ("tflops = 800", "tflops = 5000", r"peak.bf16.tflops = 5000: hopper devices"),
        ('engine = "tensor core"', 'engine = " "', r"peak.bf16.engine = ' ': must not be empty"),
        ('name = "My H100"', 'name = "My\\nH100"', r"name = .*: must be text on one line"),
        ("gb_per_s = 3350", "gb_per_s = 3350, bus_bits = -1", r"bandwidth.bus_bits = -1: must be a positive"),
        (
            "gb_per_s = 3350",
            "gb_per_s = 335, bus_bits = 5120, clock_mhz = 2619",
            r"gb_per_s = 335: bus x clock is 3352",
        ),
        ('kind = "gpu"', 'kind = "gpu"\nvariant = "fast"', r"variant = 'fast': .*allowed: full"),
        ('kind = "gpu"', 'kind = "gpu"\ncompute_capability = "nine"', r"compute_capability = 'nine': must be"),
        ('kind = "gpu"', 'kind = "gpu"\nrelease_year = -2022', r"release_year = -2022: must be a positive"),
        (
            "[memory]\n",
            '[links]\nnvlink = { name = "x", gb_per_s = 450, source = "sheet" }\n[memory]\n',
            r"links.nvlink: unknown key.*\(allowed: .*scale_up\)$",
        ),
        (
            "[memory]\n",
            'fp32 = { tflops = 801, engine = "vector", source = "sheet", not_derived = "" }\n[memory]\n',
            r"peak.fp32.not_derived = '': give a reason",
        ),
        (
            "[memory]\n",
            'fp8 = { tflops = 700, engine = "tensor core", source = "sheet" }\n[memory]\n',
            r"peak.fp8.tflops = 700: not 2 x bf16 \(800\)",
        ),
        (
            'architecture = "hopper"',
            'architecture = "hopper"\nvariant = "full"\nunits = 132\nclock = { tensor_mhz = 1830, source = "sheet" }',
            r"peak.bf16.tflops = 800: units x FLOPs per cycle x clock is 989.4",
        ),
        ('id = "my-h100"', 'id = "my-h100"\ncolour = "red"', r"colour: unknown key"),
        ('id = "my-h100"', "id = ", r"not valid TOML"),
    ],
)
def test_own_file_mistakes_name_file_key_value_and_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in OWN
    path = written(tmp_path, OWN.replace(old, new, 1))
    refusal(path, message, path)


def test_a_byte_order_mark_before_a_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(OWN, encoding="utf-8-sig")
    assert load_device(str(path)).id == "my-h100"


GEMM = '[measured.gemm]\nsource = "sheet"\n'


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (f"{GEMM}cap = -0.5", r"measured.gemm.cap = -0.5: must be above 0 and at most 1"),
        (f"{GEMM}cap = nan", r"measured.gemm.cap = nan: must be above 0"),
        (f"{GEMM}cap = 2.0", r"measured.gemm.cap = 2: must be"),
        (f"{GEMM}p = 0", r"measured.gemm.p = 0: must be at least 1 and at most 20"),
        (f"{GEMM}t0_us = 1e12", r"measured.gemm.t0_us = 1000000000000: must be at least 0"),
        *(
            (f"{GEMM}{key} = 0.5", rf"measured.gemm.{key} = 0.5: must be at least 1")
            for key in ("misaligned", "misaligned_odd", "misaligned_batch", "wgrad")
        ),
        (f"{GEMM}capp = 0.5", r"measured.gemm.capp: unknown key, did you mean 'cap'\? \(allowed: "),
        (f'{GEMM}cap = "high"', r"measured.gemm.cap = 'high': expected `float`, got `str`"),
        ('[measured.gem]\nsource = "sheet"', r"measured.gem: unknown key, did you mean 'gemm'\?"),
        ('[measured.attention.flash9]\nsource = "sheet"', r"measured.attention.flash9: unknown key.*flash1"),
        ("[measured]\ngemm = 3", r"measured.gemm = 3: expected a table"),
        ("[measured]\nattention = 3", r"measured.attention = 3: expected a table"),
        (
            '[measured.memory_bound.softmax]\nbandwidth = 1.5\nsource = "sheet"',
            r"measured.memory_bound.softmax.bandwidth = 1.5: must be above 0 and at most 1",
        ),
        (
            '[measured.collective.all_reduce]\nfew_ranks = 2.0\nsource = "sheet"',
            r"all_reduce.few_ranks = 2: must be at least 0 and below 2",
        ),
        ('[measured.sustained]\ncompute = 0\nsource = "sheet"', r"sustained.compute = 0: must be above 0"),
    ],
)
def test_measured_figures_are_checked_in_an_own_file(tmp_path: Path, tables: str, message: str) -> None:
    path = written(tmp_path, f"{OWN}{tables}\n")
    refusal(path, message, f"{path}: ")


def test_missing_sections_and_files(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"memory: missing"):
        load_device(written(tmp_path, OWN.partition("[memory]")[0]))
    with pytest.raises(HardwareError, match="No such file"):
        load_device(str(tmp_path / "absent.toml"))
    with pytest.raises(HardwareError, match="is a folder"):
        load_device(f"{tmp_path}/")

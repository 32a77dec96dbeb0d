"""Device files that read back the same, whole or not at all."""

from pathlib import Path

import msgspec
import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.calibrate.writer import to_toml, write_device
from roofline.hardware.catalog import hosts


@pytest.mark.parametrize("device_id", ["h100-sxm-80gb", "mi300a", "epyc-9654", "tpu-v4", "apple-m4-pro-gpu"])
def test_what_is_written_reads_back_the_same(device_id: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.toml"
    original = load_device(device_id)
    write_device(str(path), to_toml(original))
    assert load_device(str(path)) == original


def test_writing_fails_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HardwareError, match="cannot write"):
        write_device(str(tmp_path / "file" / "x.toml"), "id = 1\n")
    target = tmp_path / "x.toml"
    target.mkdir()
    with pytest.raises(HardwareError, match="cannot write"):
        write_device(str(target), "id = 1\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.toml"]


def test_a_host_of_its_own_reads_back_the_same(tmp_path: Path) -> None:
    card, host = load_device("rtx-4090"), msgspec.structs.replace(hosts()["staged"], words="as measured here")
    path = tmp_path / "mine.toml"
    write_device(str(path), to_toml(msgspec.structs.replace(card, host=host, between=host)))
    loaded = load_device(str(path))
    assert loaded.between == host
    assert loaded.host == host

"""What others wrote: refused in one sentence where it is too large, too deep, or not what it says."""

import os
import zipfile
import zlib

import pytest

from roofline import reading
from roofline.errors import RooflineError, one_line, printable


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 3000 + "]" * 3000, "nested more than 32 deep"),
        ("a." * 30_000 + "a = 1", "a key of more than 32 parts"),
        ("[" + "a." * 30_000 + "a]", "a key of more than 32 parts"),
        ('"a".b.' * 30 + "c = 1", "a key of more than 32 parts"),
        ("a = " + "1" * 5000, "not valid TOML: Exceeds the limit"),
        ("[t]\na = [1, 1" + "0" * 31 + "]", "t.a is out of range"),
        ('a = "' + "\\" * 9999, "not valid TOML"),
    ],
)
def test_toml_beyond_the_limits(text, words):
    with pytest.raises(RooflineError, match=f"^x.toml: .*{words}"):
        reading.parse_toml(text, "x.toml")


def test_brackets_and_dots_in_strings_and_comments_do_not_count():
    text = 'a = "' + "[.{" * 99 + '"\n# ' + "[." * 99 + "\nb = '''" + "{." * 99 + "'''\nc = [\"\\\"[[[\"]"
    assert reading.parse_toml(text, "x")["c"] == ['"[[[']
    assert reading.parse_json('["' + "[{" * 99 + '\\"["]', "x") == ["[{" * 99 + '"[']


def test_json_beyond_the_limits():
    with pytest.raises(RooflineError, match="nested more than 32 deep"):
        reading.parse_json("[" * 100_000, "x.json")
    with pytest.raises(RooflineError, match=r"a\.b is out of range"):
        reading.parse_json('{"a": {"b": -1' + "0" * 308 + "}}", "x.json")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")
def test_a_file_without_an_end():
    with pytest.raises(RooflineError, match=r"larger than 0\.25 MB: no model for roofline is"):
        reading.read_toml("/dev/zero", "model")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no pipes with names here")
def test_a_pipe_of_the_shell_is_read_and_one_that_nobody_may_write_to_is_not_waited_for(tmp_path):
    named = tmp_path / "x.toml"
    os.mkfifo(named)
    with pytest.raises(RooflineError, match=r"^cannot read model .*x\.toml': it is a named pipe; name a file"):
        reading.read_toml(named, "model")
    ours, theirs = os.pipe()  # what <(command) makes
    try:
        os.write(theirs, b"a = 1")
        os.close(theirs)
        assert reading.read_toml(f"/dev/fd/{ours}") == {"a": 1}
    finally:
        os.close(ours)
    with pytest.raises(RooflineError, match="^cannot read file '/dev/fd/999999'"):
        reading.read_toml("/dev/fd/999999")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a = '\xe9'"])
def test_a_file_that_is_no_text(tmp_path, content):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(RooflineError, match="not a text file"):
        reading.read_toml(tmp_path / "x.toml")


def test_a_name_that_no_file_can_have(tmp_path):
    for name in ("a\0b", "a" * 300, str(tmp_path)):
        with pytest.raises(RooflineError, match=r"^cannot read model "):
            reading.read_text(name, "model")


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert reading.read_toml(tmp_path / "x.toml") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"\xff", b"id = ", b"id = 3"])
def test_a_damaged_packaged_file(tmp_path, content):
    from roofline.hardware.device import Device

    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(RooflineError, match=r"the installation is damaged: .*x\.toml: .*; install roofline again"):
        reading.read_packaged(tmp_path / "x.toml", Device)


def test_a_table_that_was_built_is_found_by_the_content_of_its_file(tmp_path, monkeypatch):
    known, new = b"a = 1\n", b"a = 3\n"
    places = f'{{"00000000":[0,11],"{zlib.crc32(known):08x}{len(known)}":[11,9]}}'
    (tmp_path / "tables.jsonl").write_text(f'{places}\n{{"a":"µ"}}\n{{"a": 2}}\n', encoding="utf-8", newline="\n")
    monkeypatch.setattr(reading, "_tables", lambda: tmp_path / "tables.jsonl")
    monkeypatch.setattr(reading, "_places", reading._places.__wrapped__)
    for content, value in ((known, 2), (new, 3)):
        (tmp_path / "x.toml").write_bytes(content)
        assert reading.read_packaged(tmp_path / "x.toml", dict[str, int]) == {"a": value}


def test_what_a_terminal_would_obey_is_written_out():
    assert printable("gpt\x1b[2J\u202e\x9b") == "gpt\\x1b[2J\\u202e\\x9b"
    assert printable("naïve ✓ 模型") == "naïve ✓ 模型"
    assert len(one_line("unknown device " + "x" * 10_000)) < 250
    assert len(one_line("values " + "1 " * 10_000)) < 3100


def test_a_packaged_folder_is_what_pathlib_would_make_of_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.toml").write_bytes("a = 'µ'\r\n".encode())
    ours, theirs = (of / "inner" for of in (reading.OnDisk(str(tmp_path)), tmp_path))
    assert (os.fspath(ours), str(ours), ours.name) == (os.fspath(theirs), str(theirs), theirs.name)
    assert [entry.name for entry in ours.iterdir()] == [entry.name for entry in theirs.iterdir()] == ["x.toml"]
    assert (ours.is_dir(), ours.is_file()) == (theirs.is_dir(), theirs.is_file()) == (True, False)
    ours, theirs = ours.joinpath("x.toml"), theirs.joinpath("x.toml")
    assert (ours.is_dir(), ours.is_file()) == (theirs.is_dir(), theirs.is_file()) == (False, True)
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.read_text(encoding="utf-8") == theirs.read_text(encoding="utf-8")
    with ours.open("rb") as file:
        assert file.read() == theirs.read_bytes()
    assert isinstance(reading.packaged("roofline.model.load", "presets"), reading.OnDisk)


def test_a_zip_is_opened_once_however_many_of_its_files_are_read(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("in_a_zip/__init__.py", "")
        archive.writestr("in_a_zip/no_folder_of_ours/a.toml", "a = 1")
    monkeypatch.syspath_prepend(tmp_path / "x.zip")
    first, second = (reading.packaged("in_a_zip.module", "no_folder_of_ours") for _ in range(2))
    assert (first / "a.toml").read_text() == "a = 1"
    assert first.root is second.root  # the open archive: listing its thousand names takes 60 ms

import os
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.view.files import write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RooflineError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RooflineError, match="permission denied"):
        write_atomically(tmp_path / "x.json", b"{}")


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.symlink_to(path)
    with pytest.raises(RooflineError, match="its links lead in a circle"):
        write_atomically(path, b"{}")
    assert path.is_symlink()


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no pipes with names here")
def test_a_pipe_is_written_to_where_somebody_reads_it(tmp_path):
    named = tmp_path / "x.json"
    os.mkfifo(named)
    with pytest.raises(RooflineError, match=r"x\.json: nobody reads this pipe"):
        write_atomically(named, b"{}")
    reader = os.open(named, os.O_RDONLY | os.O_NONBLOCK)
    ours, theirs = os.pipe()  # what >(command) makes
    try:
        write_atomically(named, b"{}")
        write_atomically(Path(f"/dev/fd/{theirs}"), b"[]")
        assert (os.read(reader, 9), os.read(ours, 9)) == (b"{}", b"[]")
        os.close(ours)
        with pytest.raises(BrokenPipeError):
            write_atomically(Path(f"/dev/fd/{theirs}"), b"[]")
    finally:
        os.close(reader)
        os.close(theirs)
    assert [*tmp_path.iterdir()] == [named] and named.is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no files by number here")
def test_what_the_shell_has_opened_is_written_to_where_it_stands(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("kept\n")
    with path.open("ab") as file:  # as >> opens standard output
        write_atomically(Path(f"/dev/fd/{file.fileno()}"), b"added\n")
    assert path.read_text() == "kept\nadded\n"

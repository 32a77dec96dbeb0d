"""Every script that maintainers run says what it does, and refuses what it does not know."""

from pathlib import Path

import pytest

from ...maintain import FOLDER

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not in a wheel")
SCRIPTS = [path for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_reads_its_arguments_and_explains_itself(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "ArgumentParser(description=" in text
    assert "sys.argv" not in text

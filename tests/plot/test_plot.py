import csv
import subprocess
import sys

import pytest
from PIL import Image

from roofline import estimate, plot
from roofline.errors import RooflineError
from roofline.hardware import load_device

# --- rooflines --------------------------------------------------------------------------------------------


# --- waterfall --------------------------------------------------------------------------------------------


# --- memory and batch -------------------------------------------------------------------------------------


# --- validation -------------------------------------------------------------------------------------------


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_same_picture_is_the_same_file(tmp_path, xl, suffix, start):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        plot.save(plot.draw(plot.waterfall_data([xl])), path, dpi=72)
    assert first.read_bytes().startswith(start)
    assert first.read_bytes() == second.read_bytes()


def test_dpi_sets_the_pixels(tmp_path, xl):
    import struct

    figure = plot.draw(plot.waterfall_data([xl]))
    plot.save(figure, tmp_path / "a.png", dpi=100)
    width, _ = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert width == round(100 * figure.get_figwidth())


@pytest.mark.parametrize("name", ["a.gif", "a", "missing/a.png"])
def test_a_picture_that_cannot_be_written_is_one_error(tmp_path, xl, name):
    with pytest.raises(RooflineError, match=r"cannot write"):
        plot.save(plot.draw(plot.waterfall_data([xl])), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_data_beside_the_picture(tmp_path, pair):
    for data in (plot.roofline_data(pair), plot.waterfall_data(pair), plot.memory_data(pair)):
        plot.save_data(data, tmp_path / "data.csv")
        with (tmp_path / "data.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(data.rows())
        assert {row.get("device", row.get("h100-sxm-80gb")) for row in rows} >= {"h100-sxm-80gb", "a100-sxm-80gb"}


def test_drawing_leaves_matplotlib_as_it_was(xl):
    import matplotlib as mpl

    mpl.rcParams["font.size"] = 17.0
    before = dict(mpl.rcParams)
    figure = plot.draw(plot.waterfall_data([xl]))
    assert dict(mpl.rcParams) == before
    assert figure.axes[0].get_yticklabels()[0].get_fontsize() == 7.5  # ours, whatever the user's style
    mpl.rcdefaults()


def test_plotting_needs_no_display_and_no_pyplot(tmp_path):
    code = (
        "import sys; from roofline import plot; assert 'matplotlib' not in sys.modules;"
        "from roofline.cli import main;"
        f"assert main(['plot', '-d', 'h100-sxm-80gb', '--output', {str(tmp_path / 'a.png')!r}]) == 0;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert (tmp_path / "a.png").stat().st_size > 10_000


# --- command ----------------------------------------------------------------------------------------------


def test_text_of_an_svg_is_text(tmp_path):
    plot.save(plot.draw(plot.roofline_data([load_device("h100-sxm-80gb")])), tmp_path / "roof.svg")
    assert "arithmetic intensity" in (tmp_path / "roof.svg").read_text()


def test_a_png_says_what_stands_in_it(tmp_path):
    figure = plot.draw(plot.memory_data([estimate("gpt2", "h100-sxm-80gb", micro_batch=8)]))
    plot.save(figure, tmp_path / "memory.png")
    with Image.open(tmp_path / "memory.png") as image:
        lines = image.info["Description"].splitlines()
    assert {"Memory of the fullest device", "optimizer state", "capacity 79.6 GiB"} <= set(lines)

"""Draw a model's ops on the rooflines of some devices, and where the rest of the peak goes.

Copy it and edit the four settings; `python scripts/plot_rooflines.py` writes two pictures and their data.
"""

from __future__ import annotations

import roofline
from roofline import plot

MODEL = "gpt2-xl"  # a preset, a Hugging Face config.json or a .toml
DEVICES = ["h100-sxm-80gb", "a100-sxm-80gb"]  # `roofline devices` lists all; a .toml works too
TRAINING = {"micro_batch": 8, "dtype": "bf16", "stack": "compiled"}  # any option of `roofline estimate`
SUFFIX = ".png"  # .svg or .pdf for print


def main() -> None:
    """Estimate once per device, then draw: data first, drawing second."""
    estimates = [roofline.estimate(MODEL, device, **TRAINING) for device in DEVICES]
    for each in estimates:
        print(f"{each.device.name}: {1e3 * each.step_time_s:.0f} ms a step, MFU {each.mfu:.1%}")

    # Each op as a point: how fast it runs against what the device allows at its arithmetic intensity.
    rooflines = plot.roofline_data(estimates)
    plot.save(plot.draw(rooflines), f"rooflines{SUFFIX}")
    plot.save_data(rooflines, "rooflines.csv")

    # What each cause takes of the peak: the way from 100 % down to the MFU.
    plot.save(plot.draw(plot.waterfall_data(estimates)), f"waterfall{SUFFIX}")

    # A figure is an ordinary matplotlib Figure: change it before it is saved.
    figure = plot.draw(plot.roofline_data([roofline.load_device(device) for device in DEVICES]))
    figure.axes[0].set_title("two generations", loc="left")
    plot.save(figure, f"devices{SUFFIX}", dpi=300)


if __name__ == "__main__":
    main()

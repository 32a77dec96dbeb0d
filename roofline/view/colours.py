"""Colours that pictures and pages share: safe for the colour-blind, told apart in grey print."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design" (2008), in an order whose neighbours differ in lightness too
BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
)
SILVER = "#bdbdbd"
CAUSE_COLOURS = {"compute": BLUE, "memory": SKY, "communication": RED, "latency": ORANGE}
PASS_COLOURS = {  # what runs over the time of a step, in its order
    "forward": BLUE,
    "recompute": PINK,
    "backward": ORANGE,
    "weight gradients": SKY,
    "data parallel": RED,
    "update": GREEN,
}
PART_COLOURS = {  # parts of memory
    "weights_bytes": BLUE,
    "gradients_bytes": SKY,
    "optimizer_bytes": GREEN,
    "activations_bytes": ORANGE,
    "logits_bytes": PINK,
    "communication_bytes": RED,
    "context_bytes": SILVER,
}

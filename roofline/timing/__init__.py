"""Seconds of a step on a device: each op, each collective, and the schedule that composes them."""

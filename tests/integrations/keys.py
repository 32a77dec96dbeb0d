"""What every integration logs."""

KEYS = {"roofline/mfu", "roofline/expected_mfu_low", "roofline/expected_mfu_high", "roofline/remaining_s"}

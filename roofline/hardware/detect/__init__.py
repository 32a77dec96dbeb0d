"""The GPUs and the CPU of this machine, matched to the catalog."""

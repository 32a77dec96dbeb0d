"""From a PyTorch module to the ops of a step, recorded operator by operator."""

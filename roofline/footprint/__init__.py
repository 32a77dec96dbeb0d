"""Bytes of one device: weights, gradients, optimizer state, activations and buffers."""

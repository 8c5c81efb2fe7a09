"""Artifact and target in, latency out. Knows nothing of torch, training or search."""

"""Latency predicted from what a network computes: artifact to kernels to features to seconds with an interval."""

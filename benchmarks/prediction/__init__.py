"""Parts of `benchmarks/latency_prediction.py`."""

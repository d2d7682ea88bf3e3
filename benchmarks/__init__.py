"""Measures the daemon beside its peers; `python -m benchmarks`. See docs/performance.md."""

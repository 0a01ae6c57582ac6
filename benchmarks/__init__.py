"""What the runner costs and how fast it is, beside its targets: `python -m benchmarks` (docs/performance.md)."""

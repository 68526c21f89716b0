"""Measurements: `make bench` runs them all and writes docs/benchmarks.md. None of them is an assertion."""

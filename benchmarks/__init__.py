"""Measure how fast the kit is, and against what. README.md lists the benchmarks."""

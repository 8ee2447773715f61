"""Ablations: runs that differ in one or two values of a notebook, and what the values change."""

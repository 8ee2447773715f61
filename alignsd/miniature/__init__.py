"""The paper in miniature: a small world in which the truth is known."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"

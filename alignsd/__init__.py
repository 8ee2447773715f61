"""Human Preference Score, from collected choices to an aligned Stable Diffusion (ICCV 2023, arXiv 2303.14420)."""

__version__ = "0.1.0"

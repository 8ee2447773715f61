"""Tests in a browser: what a reader sees in JupyterLab."""

"""Execute the notebooks: the runner, the kernels, and JupyterLab on working copies."""

"""Start, watch and end the kernel that executes a notebook."""

"""What a run needs and takes: this machine, work, time and space."""

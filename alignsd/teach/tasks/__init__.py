"""The exercises' tasks: inputs, a short reference, and the slips that are common."""

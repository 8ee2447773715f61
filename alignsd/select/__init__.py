"""Section 4 of the paper: score DiffusionDB and pick preferred and non-preferred images."""

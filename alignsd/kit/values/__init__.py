"""Values of parameters: what a notebook offers, what a preset gives, and what a run takes."""

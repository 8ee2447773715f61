"""What a notebook needs to take part in a run: parameters, stages, records, declared tables."""

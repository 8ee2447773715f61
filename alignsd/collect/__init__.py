"""Section 3 of the paper: human choices, from Discord messages to the data set HPD v1."""

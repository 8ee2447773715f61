"""Section 3 of the paper: train the Human Preference Score, and measure its accuracy."""

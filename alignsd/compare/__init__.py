"""Section 5 of the paper: draw the arms, measure them, and settle the claims."""

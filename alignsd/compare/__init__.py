"""Section 5 of the paper: draw the arms, measure the images, and settle the claims."""

"""Other ways to align an image generator than the paper's, one module per method."""

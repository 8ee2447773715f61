"""You play: draw, score and compare pictures on the spot."""

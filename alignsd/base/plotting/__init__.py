"""What drawn figures share: the palette, and light PNG files."""

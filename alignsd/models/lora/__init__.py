"""LoRA files: ours in the layouts of diffusers and kohya, and other people's files."""

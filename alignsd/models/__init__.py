"""The networks, and how each is loaded and trained: CLIP, Stable Diffusion, LoRA files."""

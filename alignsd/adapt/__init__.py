"""Section 4 of the paper: teach Stable Diffusion what people dislike, with LoRA."""

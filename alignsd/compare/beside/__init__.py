"""Pictures side by side: chosen pictures and the others, and the pictures of two generators."""

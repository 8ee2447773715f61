"""Pretrain the models that the miniature ships, and write their card."""

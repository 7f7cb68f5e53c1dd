"""Training data before it is trained on: what was exported, its statistics, and what is expected of them."""

"""The model store and the promotion gate."""

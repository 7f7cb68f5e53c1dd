"""What a training job is, as plain data."""

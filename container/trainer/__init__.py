"""The container's trainer: recommenders trained on one machine or many, evaluated and exported."""

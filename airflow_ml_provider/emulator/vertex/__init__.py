"""Vertex AI v1 custom jobs, which really run."""

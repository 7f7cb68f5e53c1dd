"""The REST client for Vertex AI and Cloud Logging."""

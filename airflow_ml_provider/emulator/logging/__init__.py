"""Cloud Logging v2: what the replicas of training jobs print, and what the service says about them."""

"""Google Cloud on a laptop: the endpoints that a retraining pipeline talks to, for real work offline."""

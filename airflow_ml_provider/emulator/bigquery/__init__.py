"""BigQuery v2 over DuckDB."""

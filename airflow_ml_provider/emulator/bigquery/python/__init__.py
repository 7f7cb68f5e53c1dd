"""Functions of BigQuery's that DuckDB has no equal of, in Python."""

"""GoogleSQL into DuckDB's SQL: every expression gets its type, and what has no known meaning is refused.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax
"""

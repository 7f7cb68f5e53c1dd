"""What DuckDB's errors are in BigQuery's words."""

from __future__ import annotations

import re

import duckdb

from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.errors import ApiError

# What DuckDB says, and what BigQuery would say.
_MEANINGS = (
    (
        r"must appear in the GROUP BY clause|column .* must be included in",
        "SELECT list expression references a column which is neither grouped nor aggregated",
    ),
    (r"WHERE clause cannot contain aggregates", "Aggregate function not allowed in WHERE clause"),
    (r"WHERE clause cannot contain window functions", "Analytic function not allowed in WHERE clause"),
    (r"aggregate function calls cannot be nested", "Aggregations of aggregations are not allowed"),
    (r"Overflow in \w+ of (?:INT64|INT128) \((.*)\)", r"int64 overflow: \1"),
    (r"Type INT128 with value (-?\d+) can't be cast", r"int64 overflow: \1"),
    (r"More than one row returned by a subquery", "Scalar subquery produced more than one element"),
)


def refused(error: duckdb.Error) -> ApiError:
    """Return BigQuery's error for what DuckDB refused."""
    message = str(error).split("\n")[0]
    if isinstance(error, duckdb.InterruptException):
        return ApiError(499, "Job execution was cancelled: User requested cancellation", reason="stopped")
    if "Python exception occurred while executing the UDF" in message:
        message = message.partition("UDF: ")[2].partition(": ")[2]
    for prefix in (
        "Binder",
        "Conversion",
        "Invalid Input",
        "Out of Range",
        "Not implemented",
        "Catalog",
        "Parser",
    ):
        message = message.removeprefix(f"{prefix} Error: ")
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, message):
            return invalid(found.expand(meaning))
    return invalid(message.strip())

"""Parsing, by sqlglot: functions stay calls with arguments, as BigQuery's documentation has them."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot.dialects.bigquery import BigQuery

from airflow_ml_provider.emulator.bigquery.sql.errors import invalid

# A node of sqlglot's trees, whose classes have changed their names between versions.
Node = Any

_KEPT = ("CAST", "SAFE_CAST", "EXTRACT", "ARRAY")


class GoogleSQL(BigQuery):
    """BigQuery's dialect, whose functions mean nothing yet."""

    class Parser(BigQuery.Parser):  # type: ignore[misc,valid-type]
        """Its parser."""

        FUNCTIONS: dict[str, Any] = {}
        FUNCTION_PARSERS = {
            name: parse for name, parse in BigQuery.Parser.FUNCTION_PARSERS.items() if name in _KEPT
        }


def parse(statement: str) -> Node:
    """Return the tree of one statement.

    :raises ApiError: 400 ``invalidQuery``: a syntax error.
    """
    try:
        tree = sqlglot.parse_one(statement, read=GoogleSQL)
    except sqlglot.errors.ParseError as error:
        first = error.errors[0] if error.errors else {}
        where = f" at [{first.get('line', 1)}:{first.get('col', 1)}]"
        raise invalid(
            f"Syntax error: {str(first.get('description', error)).splitlines()[0]}{where}"
        ) from None
    except sqlglot.errors.SqlglotError as error:
        raise invalid(f"Syntax error: {error}") from None
    except RecursionError:
        raise invalid("The query is too deeply nested.") from None
    return tree

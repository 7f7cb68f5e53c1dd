"""Rows that are inserted without a job.

https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/insertAll
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.bigquery.catalog import Catalog, TableName
from airflow_ml_provider.emulator.bigquery.files.records import arrow_table, row_of
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.errors import ApiError

# For how long an insertId keeps a row from being inserted twice.
_REMEMBERED_SECONDS = 60.0


class Streaming:
    """Answers ``tabledata.insertAll``.

    :param catalog: what is where.
    :param tables: what they hold.
    """

    def __init__(self, catalog: Catalog, tables: Tables) -> None:
        self._catalog = catalog
        self._tables = tables
        self._lock = threading.Lock()
        self._seen: dict[tuple[TableName, str], float] = {}

    def insert(self, target: TableName, body: Mapping[str, Any]) -> dict[str, Any]:
        """Insert rows.

        :param body: a ``TableDataInsertAllRequest``.
        :return: a ``TableDataInsertAllResponse``.
        :raises ApiError: 404; 400 for a view, and for what the emulator does not know.
        """
        if body.get("templateSuffix"):
            raise ApiError(400, "The emulator does not know templateSuffix.", reason="invalid")
        state = self._catalog.state(target)
        if state.view is not None:
            raise ApiError(400, f"Cannot add rows to a table of type VIEW: {target}", reason="invalid")
        given = body.get("rows") or []
        if not given:
            raise ApiError(400, "No rows present in the request.", reason="invalid")
        good, problems = [], []
        for index, row in enumerate(given):
            try:
                made = row_of(
                    state.schema, row.get("json") or {}, ignore=bool(body.get("ignoreUnknownValues"))
                )
                good.append((row.get("insertId"), made))
            except ValueError as error:
                problems.append(_problem(index, "invalid", str(error)))
        if problems and not body.get("skipInvalidRows"):
            wrong = {problem["index"] for problem in problems}
            problems += [_problem(n, "stopped", "") for n in range(len(given)) if n not in wrong]
            good = []
        with self._lock:
            fresh = [row for insert_id, row in good if self._is_new(target, insert_id)]
        if fresh:
            arrow = arrow_table(state.schema, [[row[f["name"]] for row in fresh] for f in state.schema])
            with self._tables.registered(arrow, "SELECT * FROM loaded") as sql:
                self._tables.write(target, sql, list(state.schema), "WRITE_APPEND")
        reply: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
        if problems:
            reply["insertErrors"] = problems
        return reply

    def _is_new(self, target: TableName, insert_id: str | None) -> bool:
        if insert_id is None:
            return True
        now = time.monotonic()
        self._seen = {key: at for key, at in self._seen.items() if now - at < _REMEMBERED_SECONDS}
        if (target, insert_id) in self._seen:
            return False
        self._seen[target, insert_id] = now
        return True


def _problem(index: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "index": index,
        "errors": [{"reason": reason, "location": "", "debugInfo": "", "message": message}],
    }

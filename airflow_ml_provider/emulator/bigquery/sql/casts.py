"""``CAST`` and ``SAFE_CAST``.

https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_functions
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value

# By DuckDB's SQL; what begins with ? may fail.
_CASTS = {
    ("INT64", "BOOL"): "({0} <> 0)",
    ("INT64", "NUMERIC"): "CAST({0} AS DECIMAL(38,9))",
    ("INT64", "FLOAT64"): "CAST({0} AS DOUBLE)",
    ("INT64", "STRING"): "CAST({0} AS VARCHAR)",
    ("NUMERIC", "INT64"): "?CAST(bq_round_numeric({0}, 0) AS BIGINT)",
    ("NUMERIC", "FLOAT64"): "CAST({0} AS DOUBLE)",
    ("NUMERIC", "STRING"): "bq_numeric_text({0})",
    ("FLOAT64", "INT64"): "?CAST(round({0}) AS BIGINT)",
    ("FLOAT64", "NUMERIC"): "?bq_float_to_numeric({0})",
    ("FLOAT64", "STRING"): "bq_float_text({0})",
    ("BOOL", "INT64"): "CAST({0} AS BIGINT)",
    ("BOOL", "STRING"): "CAST({0} AS VARCHAR)",
    ("STRING", "BOOL"): "?bq_to_bool({0})",
    ("STRING", "INT64"): "?bq_to_int({0})",
    ("STRING", "NUMERIC"): "?bq_to_numeric({0})",
    ("STRING", "FLOAT64"): "?CAST(bq_to_float({0}) AS DOUBLE)",
    ("STRING", "BYTES"): "encode({0})",
    ("STRING", "DATE"): "?bq_to_date({0})",
    ("STRING", "DATETIME"): "?bq_to_datetime({0})",
    ("STRING", "TIME"): "?bq_to_time({0})",
    ("STRING", "TIMESTAMP"): "?timezone('UTC', bq_to_timestamp_utc({0}, 'UTC'))",
    ("BYTES", "STRING"): "?bq_cast_bytes({0})",
    ("DATE", "STRING"): "CAST({0} AS VARCHAR)",
    ("DATE", "DATETIME"): "CAST({0} AS TIMESTAMP)",
    ("DATE", "TIMESTAMP"): "timezone('UTC', CAST({0} AS TIMESTAMP))",
    ("DATETIME", "STRING"): "bq_datetime_text({0})",
    ("DATETIME", "DATE"): "CAST({0} AS DATE)",
    ("DATETIME", "TIME"): "CAST({0} AS TIME)",
    ("DATETIME", "TIMESTAMP"): "timezone('UTC', {0})",
    ("TIME", "STRING"): "bq_time_text({0})",
    ("TIMESTAMP", "STRING"): "bq_timestamp_text(timezone('UTC', {0}), 'UTC')",
    ("TIMESTAMP", "DATE"): "CAST({0} AS DATE)",
    ("TIMESTAMP", "DATETIME"): "timezone('UTC', {0})",
    ("TIMESTAMP", "TIME"): "CAST(timezone('UTC', {0}) AS TIME)",
}
# sqlglot's names of types where they are not GoogleSQL's.
_NAMES = {
    "TIMESTAMPTZ": "TIMESTAMP",
    "TIMESTAMP": "DATETIME",
    "DATETIME": "DATETIME",
    "BIGDECIMAL": "BIGNUMERIC",
    "BIGNUM": "BIGNUMERIC",
}


def type_of(node: Node) -> Type:
    """Return the type that a type's node means.

    :raises ApiError: 400 ``invalidQuery``: the emulator does not know it.
    """
    kind = getattr(node.this, "value", str(node.this)).upper()
    if kind == "ARRAY":
        if not node.expressions:
            raise invalid("ARRAY needs the type of its elements")
        return Type("ARRAY", type_of(node.expressions[0]))
    if kind == "STRUCT":
        fields = []
        for part in node.expressions:
            if isinstance(part, exp.ColumnDef):
                fields.append((part.name, type_of(part.args["kind"])))
            else:
                fields.append(("", type_of(part)))
        return Type("STRUCT", fields=tuple(fields))
    if node.expressions:
        raise unknown(f"the type {node.sql('bigquery')} with its limits")
    return types.type_named(_NAMES.get(kind, kind))


def cast(value: Value, target: Type, *, safe: bool = False) -> Value:
    """Return a value converted to a type.

    :param safe: NULL instead of an error.
    :raises ApiError: 400 ``invalidQuery``: BigQuery has no such conversion.
    """
    here = value.type
    if value.null or here == target:
        made = types.coerced(value, target)
        assert made is not None
        return made
    if here == types.STRING and value.literal and isinstance(value.constant, str) and not safe:
        if target.kind in ("DATE", "DATETIME", "TIME", "TIMESTAMP", "NUMERIC"):
            return types.constants_of(value.constant, target)
    template = _CASTS.get((here.kind, target.kind))
    if template is not None:
        sql = template.removeprefix("?").format(value.sql)
        if safe and template.startswith("?"):
            sql = f"TRY({sql})"
        return Value(sql, target, name="")
    if here.kind == "STRUCT" and target.kind == "STRUCT" and len(here.fields) == len(target.fields):
        pairs = []
        for (name, kind), (new, wanted) in zip(
            types.named(here.fields), types.named(target.fields), strict=True
        ):
            field = cast(Value(f"({value.sql}).{types.quoted(name)}", kind), wanted, safe=safe)
            pairs.append(f"{types.quoted(new)} := {field.sql}")
        packed = f"struct_pack({', '.join(pairs)})"
        return Value(f"(CASE WHEN {value.sql} IS NULL THEN NULL ELSE {packed} END)", target)
    made = types.coerced(replace(value, literal=True, constant=None), target)
    if made is not None:
        return replace(made, literal=value.literal)
    if here.element is not None and target.element is not None:
        item = cast(Value("e", here.element), target.element, safe=safe)
        return Value(f"list_transform({value.sql}, lambda e: {item.sql})", target)
    raise invalid(f"Invalid cast from {here} to {target}")

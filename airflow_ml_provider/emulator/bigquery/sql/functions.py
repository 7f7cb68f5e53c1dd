"""Scalar functions whose meaning follows from the types of their arguments.

https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all
"""

from __future__ import annotations

from airflow_ml_provider.emulator.bigquery.sql.signatures import table

MATHEMATICAL = table(
    """
ABS(N) N = abs({0})
SIGN(INT64) INT64 = CAST(sign({0}) AS BIGINT)
SIGN(NUMERIC) NUMERIC = CAST(sign({0}) AS DECIMAL(38,9))
SIGN(FLOAT64) FLOAT64 = (CASE WHEN isnan({0}) THEN {0} ELSE CAST(sign({0}) AS DOUBLE) END)
IS_INF(FLOAT64) BOOL = isinf({0})
IS_NAN(FLOAT64) BOOL = isnan({0})
IEEE_DIVIDE(FLOAT64, FLOAT64) FLOAT64 = ({0} / {1})
RAND() FLOAT64 = random()
SQRT(FLOAT64) FLOAT64 = (CASE WHEN {0} < 0
  THEN CAST(bq_raise('Floating point error in function: SQRT') AS DOUBLE)
  ELSE sqrt({0}) END)
SQRT(NUMERIC) NUMERIC = !
CBRT(FLOAT64) FLOAT64 = cbrt({0})
POW(FLOAT64, FLOAT64) FLOAT64 = CAST(bq_pow({0}, {1}) AS DOUBLE)
POW(NUMERIC, NUMERIC) NUMERIC = !
EXP(FLOAT64) FLOAT64 = (CASE WHEN isinf(exp({0})) AND NOT isinf({0})
  THEN CAST(bq_raise('Floating point error in function: EXP') AS DOUBLE) ELSE exp({0}) END)
EXP(NUMERIC) NUMERIC = !
LN(FLOAT64) FLOAT64 = (CASE WHEN {0} <= 0
  THEN CAST(bq_raise('Floating point error in function: LN') AS DOUBLE)
  ELSE ln({0}) END)
LN(NUMERIC) NUMERIC = !
LOG(FLOAT64) FLOAT64 = (CASE WHEN {0} <= 0
  THEN CAST(bq_raise('Floating point error in function: LOG') AS DOUBLE)
  ELSE ln({0}) END)
LOG(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN {0} <= 0 OR {1} <= 0 OR {1} = 1
  THEN CAST(bq_raise('Floating point error in function: LOG') AS DOUBLE) ELSE ln({0}) / ln({1}) END)
LOG(NUMERIC) NUMERIC = !
LOG(NUMERIC, NUMERIC) NUMERIC = !
LOG10(FLOAT64) FLOAT64 = (CASE WHEN {0} <= 0
  THEN CAST(bq_raise('Floating point error in function: LOG10') AS DOUBLE) ELSE log10({0}) END)
LOG10(NUMERIC) NUMERIC = !
ROUND(FLOAT64) FLOAT64 = round({0})
ROUND(NUMERIC) NUMERIC = bq_round_numeric({0}, 0)
ROUND(FLOAT64, INT64) FLOAT64 = CAST(bq_round({0}, {1}) AS DOUBLE)
ROUND(NUMERIC, INT64) NUMERIC = bq_round_numeric({0}, {1})
TRUNC(FLOAT64) FLOAT64 = trunc({0})
TRUNC(NUMERIC) NUMERIC = bq_trunc_numeric({0}, 0)
TRUNC(FLOAT64, INT64) FLOAT64 = CAST(bq_trunc({0}, {1}) AS DOUBLE)
TRUNC(NUMERIC, INT64) NUMERIC = bq_trunc_numeric({0}, {1})
CEIL(FLOAT64) FLOAT64 = ceil({0})
CEIL(NUMERIC) NUMERIC = CAST(ceil({0}) AS DECIMAL(38,9))
FLOOR(FLOAT64) FLOAT64 = floor({0})
FLOOR(NUMERIC) NUMERIC = CAST(floor({0}) AS DECIMAL(38,9))
DIV(INT64, INT64) INT64 = (CASE WHEN {1} = 0 THEN CAST(bq_raise('division by zero: DIV') AS BIGINT)
  ELSE {0} // {1} END)
DIV(NUMERIC, NUMERIC) NUMERIC = bq_trunc_numeric(bq_divide_numeric({0}, {1}), 0)
MOD(INT64, INT64) INT64 = (CASE WHEN {1} = 0 THEN CAST(bq_raise('division by zero: MOD') AS BIGINT)
  ELSE {0} % {1} END)
MOD(NUMERIC, NUMERIC) NUMERIC = bq_mod_numeric({0}, {1})
SAFE_DIVIDE(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN {1} = 0 THEN NULL ELSE {0} / {1} END)
SAFE_DIVIDE(NUMERIC, NUMERIC) NUMERIC = TRY(bq_divide_numeric({0}, {1}))
SAFE_ADD(INT64, INT64) INT64 = TRY({0} + {1})
SAFE_SUBTRACT(INT64, INT64) INT64 = TRY({0} - {1})
SAFE_MULTIPLY(INT64, INT64) INT64 = TRY({0} * {1})
SAFE_NEGATE(INT64) INT64 = TRY(CAST(0 AS BIGINT) - {0})
SAFE_ADD(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN isfinite({0} + {1}) OR NOT isfinite({0}) OR NOT isfinite({1})
  THEN {0} + {1} END)
SAFE_SUBTRACT(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN isfinite({0} - {1}) OR NOT isfinite({0})
  OR NOT isfinite({1}) THEN {0} - {1} END)
SAFE_MULTIPLY(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN isfinite({0} * {1}) OR NOT isfinite({0})
  OR NOT isfinite({1}) THEN {0} * {1} END)
SAFE_NEGATE(FLOAT64) FLOAT64 = (-{0})
SIN(FLOAT64) FLOAT64 = sin({0})
COS(FLOAT64) FLOAT64 = cos({0})
TAN(FLOAT64) FLOAT64 = tan({0})
ASIN(FLOAT64) FLOAT64 = (CASE WHEN abs({0}) > 1
  THEN CAST(bq_raise('Floating point error in function: ASIN') AS DOUBLE)
  ELSE asin({0}) END)
ACOS(FLOAT64) FLOAT64 = (CASE WHEN abs({0}) > 1
  THEN CAST(bq_raise('Floating point error in function: ACOS') AS DOUBLE)
  ELSE acos({0}) END)
ATAN(FLOAT64) FLOAT64 = atan({0})
ATAN2(FLOAT64, FLOAT64) FLOAT64 = atan2({0}, {1})
SINH(FLOAT64) FLOAT64 = sinh({0})
COSH(FLOAT64) FLOAT64 = cosh({0})
TANH(FLOAT64) FLOAT64 = tanh({0})
RANGE_BUCKET(O, [O]) INT64 = (CASE WHEN {0} IS NULL OR {1} IS NULL THEN NULL
  ELSE CAST(len(list_filter({1}, lambda e: e <= {0})) AS BIGINT) END)
BIT_COUNT(INT64) INT64 = CAST(bit_count({0}) AS BIGINT)
"""
)

STRINGS = table(
    """
LENGTH(STRING) INT64 = CAST(length({0}) AS BIGINT)
LENGTH(BYTES) INT64 = CAST(octet_length({0}) AS BIGINT)
CHAR_LENGTH(STRING) INT64 = CAST(length({0}) AS BIGINT)
BYTE_LENGTH(STRING) INT64 = CAST(strlen({0}) AS BIGINT)
BYTE_LENGTH(BYTES) INT64 = CAST(octet_length({0}) AS BIGINT)
UPPER(STRING) STRING = (CASE WHEN strlen({0}) = length({0}) THEN upper({0}) ELSE bq_upper({0}) END)
LOWER(STRING) STRING = (CASE WHEN strlen({0}) = length({0}) THEN lower({0}) ELSE bq_lower({0}) END)
STARTS_WITH(STRING, STRING) BOOL = starts_with({0}, {1})
ENDS_WITH(STRING, STRING) BOOL = ends_with({0}, {1})
STRPOS(STRING, STRING) INT64 = CAST(strpos({0}, {1}) AS BIGINT)
INSTR(STRING, STRING) INT64 = bq_instr({0}, {1}, 1, 1)
INSTR(STRING, STRING, INT64) INT64 = bq_instr({0}, {1}, {2}, 1)
INSTR(STRING, STRING, INT64, INT64) INT64 = bq_instr({0}, {1}, {2}, {3})
CONTAINS_SUBSTR(STRING, STRING) BOOL = bq_contains_substr({0}, {1})
SUBSTR(STRING, INT64) STRING = substring({0}, CASE WHEN {1} = 0 OR {1} < -length({0}) THEN 1 ELSE {1} END)
SUBSTR(STRING, INT64, INT64) STRING = (CASE WHEN {2} < 0
  THEN bq_raise('Third argument in SUBSTR() cannot be negative')
  ELSE substring({0}, CASE WHEN {1} = 0 OR {1} < -length({0}) THEN 1 ELSE {1} END, {2}) END)
SUBSTR(BYTES, INT64) BYTES = bq_substr_bytes({0}, {1}, 9223372036854775807)
SUBSTR(BYTES, INT64, INT64) BYTES = bq_substr_bytes({0}, {1}, {2})
LEFT(STRING, INT64) STRING = (CASE WHEN {1} < 0 THEN bq_raise('Second argument in LEFT() cannot be negative')
  ELSE left({0}, {1}) END)
RIGHT(STRING, INT64) STRING = (CASE WHEN {1} < 0
  THEN bq_raise('Second argument in RIGHT() cannot be negative')
  ELSE right({0}, {1}) END)
TRIM(STRING) STRING = bq_trim({0})
LTRIM(STRING) STRING = bq_ltrim({0})
RTRIM(STRING) STRING = bq_rtrim({0})
TRIM(STRING, STRING) STRING = trim({0}, {1})
LTRIM(STRING, STRING) STRING = ltrim({0}, {1})
RTRIM(STRING, STRING) STRING = rtrim({0}, {1})
REPLACE(STRING, STRING, STRING) STRING = bq_replace({0}, {1}, {2})
REPEAT(STRING, INT64) STRING = (CASE WHEN {1} < 0
  THEN bq_raise('Second argument in REPEAT() cannot be negative')
  ELSE repeat({0}, {1}) END)
REVERSE(STRING) STRING = bq_reverse({0})
REVERSE(BYTES) BYTES = bq_reverse_bytes({0})
LPAD(STRING, INT64) STRING = bq_lpad({0}, {1}, ' ')
LPAD(STRING, INT64, STRING) STRING = bq_lpad({0}, {1}, {2})
RPAD(STRING, INT64) STRING = bq_rpad({0}, {1}, ' ')
RPAD(STRING, INT64, STRING) STRING = bq_rpad({0}, {1}, {2})
SPLIT(STRING) [STRING] = string_split({0}, ',')
SPLIT(STRING, STRING) [STRING] = (CASE WHEN {1} IS NULL THEN NULL ELSE string_split({0}, {1}) END)
INITCAP(STRING) STRING = bq_initcap({0}, NULL)
INITCAP(STRING, STRING) STRING = bq_initcap({0}, {1})
TRANSLATE(STRING, STRING, STRING) STRING = bq_translate({0}, {1}, {2})
EDIT_DISTANCE(STRING, STRING) INT64 = bq_edit_distance({0}, {1})
ASCII(STRING) INT64 = bq_unicode({0}, true)
UNICODE(STRING) INT64 = bq_unicode({0}, false)
CHR(INT64) STRING = bq_chr({0})
TO_CODE_POINTS(STRING) [INT64] = bq_code_points({0})
CODE_POINTS_TO_STRING([INT64]) STRING = bq_from_code_points({0})
FARM_FINGERPRINT(STRING) INT64 = bq_farm_fingerprint(encode({0}))
FARM_FINGERPRINT(BYTES) INT64 = bq_farm_fingerprint({0})
MD5(STRING) BYTES = bq_hash('md5', encode({0}))
MD5(BYTES) BYTES = bq_hash('md5', {0})
SHA1(STRING) BYTES = bq_hash('sha1', encode({0}))
SHA1(BYTES) BYTES = bq_hash('sha1', {0})
SHA256(STRING) BYTES = bq_hash('sha256', encode({0}))
SHA256(BYTES) BYTES = bq_hash('sha256', {0})
SHA512(STRING) BYTES = bq_hash('sha512', encode({0}))
SHA512(BYTES) BYTES = bq_hash('sha512', {0})
TO_HEX(BYTES) STRING = lower(hex({0}))
FROM_HEX(STRING) BYTES = bq_from_hex({0})
TO_BASE64(BYTES) STRING = to_base64({0})
FROM_BASE64(STRING) BYTES = bq_from_base64({0})
SAFE_CONVERT_BYTES_TO_STRING(BYTES) STRING = bq_bytes_to_string({0})
ERROR(STRING) NULL = bq_raise({0})
GENERATE_UUID() STRING = CAST(uuid() AS VARCHAR)
SESSION_USER() STRING = 'emulator@example.com'
"""
)

DATES = table(
    """
DATE(DATE) DATE = {0}
DATE(DATETIME) DATE = CAST({0} AS DATE)
DATE(TIMESTAMP) DATE = CAST({0} AS DATE)
DATE(INT64, INT64, INT64) DATE = make_date({0}, {1}, {2})
DATE_FROM_UNIX_DATE(INT64) DATE = (DATE '1970-01-01' + CAST({0} AS INTEGER))
UNIX_DATE(DATE) INT64 = CAST({0} - DATE '1970-01-01' AS BIGINT)
DATETIME(DATETIME) DATETIME = {0}
DATETIME(DATE) DATETIME = CAST({0} AS TIMESTAMP)
DATETIME(DATE, TIME) DATETIME = ({0} + {1})
DATETIME(TIMESTAMP) DATETIME = timezone('UTC', {0})
DATETIME(INT64, INT64, INT64, INT64, INT64, INT64) DATETIME = make_timestamp({0}, {1}, {2}, {3}, {4}, {5})
TIME(INT64, INT64, INT64) TIME = make_time({0}, {1}, {2})
TIME(DATETIME) TIME = CAST({0} AS TIME)
TIME(TIMESTAMP) TIME = CAST(timezone('UTC', {0}) AS TIME)
TIMESTAMP(TIMESTAMP) TIMESTAMP = {0}
TIMESTAMP(STRING) TIMESTAMP = timezone('UTC', bq_to_timestamp_utc({0}, 'UTC'))
TIMESTAMP(DATE) TIMESTAMP = timezone('UTC', CAST({0} AS TIMESTAMP))
TIMESTAMP(DATETIME) TIMESTAMP = timezone('UTC', {0})
UNIX_SECONDS(TIMESTAMP) INT64 = (epoch_us({0}) // 1000000 - CASE WHEN epoch_us({0}) % 1000000 < 0
  THEN 1 ELSE 0 END)
UNIX_MILLIS(TIMESTAMP) INT64 = (epoch_us({0}) // 1000 - CASE WHEN epoch_us({0}) % 1000 < 0 THEN 1 ELSE 0 END)
UNIX_MICROS(TIMESTAMP) INT64 = epoch_us({0})
TIMESTAMP_SECONDS(INT64) TIMESTAMP = make_timestamptz({0} * 1000000)
TIMESTAMP_MILLIS(INT64) TIMESTAMP = make_timestamptz({0} * 1000)
TIMESTAMP_MICROS(INT64) TIMESTAMP = make_timestamptz({0})
CURRENT_TIMESTAMP() TIMESTAMP = now()
CURRENT_DATE() DATE = CAST(now() AS DATE)
CURRENT_DATETIME() DATETIME = timezone('UTC', now())
CURRENT_TIME() TIME = CAST(timezone('UTC', now()) AS TIME)
FORMAT_DATE(STRING, DATE) STRING = bq_format_moment({0}, CAST({1} AS TIMESTAMP), 'DATE', 'UTC')
FORMAT_DATETIME(STRING, DATETIME) STRING = bq_format_moment({0}, {1}, 'DATETIME', 'UTC')
FORMAT_TIME(STRING, TIME) STRING = bq_format_moment({0}, DATE '1970-01-01' + {1}, 'TIME', 'UTC')
FORMAT_TIMESTAMP(STRING, TIMESTAMP) STRING = bq_format_moment({0}, timezone('UTC', {1}), 'TIMESTAMP', 'UTC')
FORMAT_TIMESTAMP(STRING, TIMESTAMP, STRING) STRING =
  bq_format_moment({0}, timezone('UTC', {1}), 'TIMESTAMP', {2})
PARSE_DATE(STRING, STRING) DATE = CAST(bq_parse_moment({0}, {1}, 'DATE', 'UTC') AS DATE)
PARSE_DATETIME(STRING, STRING) DATETIME = bq_parse_moment({0}, {1}, 'DATETIME', 'UTC')
PARSE_TIME(STRING, STRING) TIME = CAST(bq_parse_moment({0}, {1}, 'TIME', 'UTC') AS TIME)
PARSE_TIMESTAMP(STRING, STRING) TIMESTAMP = timezone('UTC', bq_parse_moment({0}, {1}, 'TIMESTAMP', 'UTC'))
PARSE_TIMESTAMP(STRING, STRING, STRING) TIMESTAMP =
  timezone('UTC', bq_parse_moment({0}, {1}, 'TIMESTAMP', {2}))
"""
)

ARRAYS = table(
    """
ARRAY_LENGTH([T]) INT64 = CAST(len({0}) AS BIGINT)
ARRAY_REVERSE([T]) [T] = list_reverse({0})
ARRAY_FIRST([T]) T = (CASE WHEN len({0}) = 0
  THEN TRY_CAST(bq_raise('ARRAY_FIRST cannot get the first element of an
  empty array') AS {type}) ELSE {0}[1] END)
ARRAY_LAST([T]) T = (CASE WHEN len({0}) = 0
  THEN TRY_CAST(bq_raise('ARRAY_LAST cannot get the last element of an
  empty array') AS {type}) ELSE {0}[-1] END)
ARRAY_TO_STRING([STRING], STRING) STRING = bq_array_to_string({0}, {1}, NULL)
ARRAY_TO_STRING([STRING], STRING, STRING) STRING = bq_array_to_string({0}, {1}, {2})
GENERATE_ARRAY(INT64, INT64) [INT64] = generate_series({0}, {1}, CAST(1 AS BIGINT))
GENERATE_ARRAY(INT64, INT64, INT64) [INT64] = (CASE WHEN {2} = 0
  THEN CAST(bq_raise('Sequence step cannot be 0.') AS BIGINT[]) ELSE generate_series({0}, {1}, {2}) END)
GENERATE_ARRAY(FLOAT64, FLOAT64) [FLOAT64] = bq_generate_array({0}, {1}, CAST(1 AS DOUBLE))
GENERATE_ARRAY(FLOAT64, FLOAT64, FLOAT64) [FLOAT64] = bq_generate_array({0}, {1}, {2})
GENERATE_ARRAY(NUMERIC, NUMERIC) [NUMERIC] = !
GENERATE_ARRAY(NUMERIC, NUMERIC, NUMERIC) [NUMERIC] = !
"""
)

JSONS = table(
    """
JSON_VALUE(STRING, STRING) STRING = bq_json_value({0}, {1})
JSON_VALUE(JSON, STRING) STRING = bq_json_value({0}, {1})
JSON_VALUE(STRING) STRING = bq_json_value({0}, '$')
JSON_VALUE(JSON) STRING = bq_json_value({0}, '$')
JSON_EXTRACT_SCALAR(STRING, STRING) STRING = bq_json_value({0}, {1})
JSON_EXTRACT_SCALAR(JSON, STRING) STRING = bq_json_value({0}, {1})
JSON_EXTRACT_SCALAR(STRING) STRING = bq_json_value({0}, '$')
JSON_QUERY(STRING, STRING) STRING = bq_json_query({0}, {1})
JSON_QUERY(JSON, STRING) JSON = bq_json_query({0}, {1})
JSON_QUERY(STRING) STRING = bq_json_query({0}, '$')
JSON_EXTRACT(STRING, STRING) STRING = bq_json_query({0}, {1})
JSON_EXTRACT(JSON, STRING) JSON = bq_json_query({0}, {1})
JSON_EXTRACT(STRING) STRING = bq_json_query({0}, '$')
JSON_VALUE_ARRAY(STRING) [STRING] = bq_json_value_array({0}, '$')
JSON_VALUE_ARRAY(STRING, STRING) [STRING] = bq_json_value_array({0}, {1})
JSON_VALUE_ARRAY(JSON) [STRING] = bq_json_value_array({0}, '$')
JSON_VALUE_ARRAY(JSON, STRING) [STRING] = bq_json_value_array({0}, {1})
JSON_EXTRACT_STRING_ARRAY(STRING) [STRING] = bq_json_value_array({0}, '$')
JSON_EXTRACT_STRING_ARRAY(STRING, STRING) [STRING] = bq_json_value_array({0}, {1})
JSON_QUERY_ARRAY(STRING) [STRING] = bq_json_query_array({0}, '$')
JSON_QUERY_ARRAY(STRING, STRING) [STRING] = bq_json_query_array({0}, {1})
JSON_QUERY_ARRAY(JSON) [JSON] = bq_json_query_array({0}, '$')
JSON_QUERY_ARRAY(JSON, STRING) [JSON] = bq_json_query_array({0}, {1})
JSON_EXTRACT_ARRAY(STRING) [STRING] = bq_json_query_array({0}, '$')
JSON_EXTRACT_ARRAY(STRING, STRING) [STRING] = bq_json_query_array({0}, {1})
JSON_EXTRACT_ARRAY(JSON) [JSON] = bq_json_query_array({0}, '$')
JSON_EXTRACT_ARRAY(JSON, STRING) [JSON] = bq_json_query_array({0}, {1})
PARSE_JSON(STRING) JSON = bq_parse_json({0})
JSON_TYPE(JSON) STRING = bq_json_type({0})
INT64(JSON) INT64 = bq_json_int64({0})
FLOAT64(JSON) FLOAT64 = bq_json_float64({0})
BOOL(JSON) BOOL = bq_json_bool({0})
STRING(JSON) STRING = bq_json_string({0})
LAX_INT64(JSON) INT64 = !
LAX_FLOAT64(JSON) FLOAT64 = !
LAX_BOOL(JSON) BOOL = !
LAX_STRING(JSON) STRING = !
"""
)

SIGNATURES = {**MATHEMATICAL, **STRINGS, **DATES, **ARRAYS, **JSONS}

SYNONYMS = {
    "CEILING": "CEIL",
    "CHARACTER_LENGTH": "CHAR_LENGTH",
    "OCTET_LENGTH": "BYTE_LENGTH",
    "POWER": "POW",
    "SUBSTRING": "SUBSTR",
}

# Functions of BigQuery's that are none of the emulator's; any other name is not found.
UNKNOWN = frozenset(
    [
        "ACOSH",
        "ASINH",
        "ATANH",
        "COT",
        "COTH",
        "CSC",
        "CSCH",
        "SEC",
        "SECH",
        "SOUNDEX",
        "CODE_POINTS_TO_BYTES",
        "COLLATE",
        "FROM_BASE32",
        "TO_BASE32",
        "REGEXP_INSTR",
        "REGEXP_SUBSTR",
        "JUSTIFY_DAYS",
        "JUSTIFY_HOURS",
        "JUSTIFY_INTERVAL",
        "MAKE_INTERVAL",
        "DATE_BUCKET",
        "DATETIME_BUCKET",
        "TIMESTAMP_BUCKET",
        "GAP_FILL",
        "RANGE",
        "RANGE_START",
        "RANGE_END",
        "GENERATE_RANGE_ARRAY",
        "ARRAY_SLICE",
        "ARRAY_INCLUDES",
        "ARRAY_FILTER",
        "ARRAY_TRANSFORM",
        "ARRAY_ZIP",
        "FLATTEN",
        "JSON_ARRAY",
        "JSON_OBJECT",
        "JSON_SET",
        "JSON_REMOVE",
        "JSON_STRIP_NULLS",
        "JSON_KEYS",
        "JSON_FLATTEN",
        "JSON_ARRAY_APPEND",
        "JSON_ARRAY_INSERT",
        "INT64_ARRAY",
        "FLOAT64_ARRAY",
        "BOOL_ARRAY",
        "STRING_ARRAY",
        "PARSE_NUMERIC",
        "PARSE_BIGNUMERIC",
        "COSINE_DISTANCE",
        "EUCLIDEAN_DISTANCE",
        "APPROX_TOP_COUNT",
        "APPROX_TOP_SUM",
        "VECTOR_SEARCH",
        "SEARCH",
        "TEXT_ANALYZE",
        "BAG_OF_WORDS",
        "TF_IDF",
        "EXTERNAL_QUERY",
        "APPENDS",
        "CHANGES",
        "S2_CELLIDFROMPOINT",
    ]
)
NAMESPACES = (
    "ML",
    "AI",
    "NET",
    "KEYS",
    "AEAD",
    "HLL_COUNT",
    "KLL_QUANTILES",
    "DETERMINISTIC_ENCRYPT",
    "FHOFFSET",
    "OBJ",
)

"""What single statements answer: most of the values are those of BigQuery's documentation."""

# ruff: noqa: E501 -- statements are shown whole

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog
from airflow_ml_provider.emulator.bigquery.queries import Queries
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.errors import ApiError


class Engine:
    """Runs queries without a server."""

    def __init__(self, folder):
        self.catalog = Catalog(folder / "catalog.db")
        self.tables = Tables(folder, self.catalog)
        self.queries = Queries(self.catalog, self.tables, None)
        self.catalog.put_dataset("p", "d", {}, new=True)

    def outcome(self, query, **config):
        return self.queries.run("p", {"query": query, "useLegacySql": False, **config}, "US")

    def rows(self, query, **config):
        outcome = self.outcome(query, **config)
        return self.tables.rows(self.catalog.state(outcome.destination), 0, 10_000)

    def schema(self, query):
        fields = self.queries.check("p", {"query": query, "useLegacySql": False}, "US").fields
        return [f"{field['name']} {types.type_of(field)}" for field in fields]


@pytest.fixture(scope="module")
def bq(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("bigquery"))
    yield engine
    engine.tables.close()
    engine.catalog.close()


UTC = dt.UTC

EXPECTED = [
    ("SELECT 7 / 2", 3.5),
    ("SELECT CAST(2.5 AS INT64)", 3),
    ("SELECT CAST(-2.5 AS INT64)", -3),
    ("SELECT CAST('12' AS INT64)", 12),
    ("SELECT CAST(1.0 AS STRING)", "1"),
    ("SELECT 0.1 + 0.2", 0.30000000000000004),
    ("SELECT SAFE_DIVIDE(1, 0)", None),
    ("SELECT MOD(-7, 3)", -1),
    ("SELECT CONCAT('a', NULL)", None),
    ("SELECT FARM_FINGERPRINT(CONCAT('1', 'foo', 'true'))", -1541654101129638711),
    ("SELECT FARM_FINGERPRINT('2applefalse')", 2794438866806483259),
    ("SELECT FARM_FINGERPRINT('3true')", -4880158226897771312),
    ("SELECT SUM(x) FROM (SELECT 1 AS x UNION ALL SELECT 2)", 3),
    ("SELECT x FROM (SELECT 1 AS x UNION ALL SELECT NULL) ORDER BY x LIMIT 1", None),
    ("SELECT COUNTIF(x > 1) FROM (SELECT 1 AS x UNION ALL SELECT 2)", 1),
    ("SELECT IF(1 < 2, 'yes', 'no')", "yes"),
    ("SELECT COALESCE(NULL, 'x')", "x"),
    ("SELECT 'a' LIKE 'A'", False),
    ("SELECT DIV(7, 2)", 3),
    ("SELECT GREATEST(1, NULL)", None),
    ("SELECT LEAST(3, 1, 2)", 1),
    ("SELECT TRIM('  a b ')", "a b"),
    ("SELECT SUBSTR('abc', 0, 2)", "ab"),
    ("SELECT SUBSTR('abc', -2)", "bc"),
    ("SELECT SUBSTR('abc', -9, 2)", "ab"),
    ("SELECT SAFE_CAST('x' AS INT64)", None),
    ("SELECT SAFE_CAST('2.5' AS INT64)", None),
    ("SELECT SAFE_CAST('7' AS INT64)", 7),
    ("SELECT DATE_ADD(DATE '2026-01-31', INTERVAL 1 MONTH)", dt.date(2026, 2, 28)),
    ("SELECT DATE_SUB(DATE '2026-03-01', INTERVAL 1 DAY)", dt.date(2026, 2, 28)),
    ("SELECT DATE_TRUNC(DATE '2026-11-20', MONTH)", dt.date(2026, 11, 1)),
    ("SELECT DATE_TRUNC(DATE '2026-11-20', ISOWEEK)", dt.date(2026, 11, 16)),
    ("SELECT DATE_DIFF(DATE '2026-03-01', DATE '2026-02-27', DAY)", 2),
    ("SELECT DATE_DIFF(DATE '2026-03-01', DATE '2026-02-27', MONTH)", 1),
    ("SELECT EXTRACT(DAYOFWEEK FROM DATE '2026-11-20')", 6),
    ("SELECT EXTRACT(ISOWEEK FROM DATE '2026-01-01')", 1),
    ("SELECT EXTRACT(HOUR FROM TIMESTAMP '2026-01-01 05:30:00+00')", 5),
    ("SELECT DATE(TIMESTAMP '2026-01-01 23:30:00-05:00')", dt.date(2026, 1, 2)),
    (
        "SELECT TIMESTAMP_DIFF(TIMESTAMP '2026-01-02 00:00:00+00', TIMESTAMP '2026-01-01 12:30:00+00', HOUR)",
        11,
    ),
    (
        "SELECT TIMESTAMP_TRUNC(TIMESTAMP '2026-01-02 05:00:00+00', DAY)",
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    ),
    ("SELECT UNIX_SECONDS(TIMESTAMP '1970-01-01 00:00:01.9+00')", 1),
    ("SELECT REGEXP_CONTAINS('abc', r'b.')", True),
    ("SELECT REGEXP_EXTRACT('a=12;', r'=(\\d+)')", "12"),
    ("SELECT REGEXP_EXTRACT('abc', r'x')", None),
    ("SELECT REGEXP_REPLACE('a1b2', r'[0-9]', '#')", "a#b#"),
    ("SELECT STRING_AGG(x, '-' ORDER BY x) FROM UNNEST(['b', 'a']) AS x", "a-b"),
    ("SELECT SUM(o) FROM UNNEST(['a', 'b', 'c']) AS x WITH OFFSET o", 3),
    ("SELECT ARRAY_AGG(x IGNORE NULLS ORDER BY x DESC LIMIT 1)[OFFSET(0)] FROM UNNEST([1, NULL, 3]) AS x", 3),
    ("SELECT ARRAY_LENGTH([1, 2])", 2),
    ("SELECT [10, 20][OFFSET(1)]", 20),
    ("SELECT [10, 20][ORDINAL(1)]", 10),
    ("SELECT [10, 20][SAFE_OFFSET(9)]", None),
    (
        "SELECT (SELECT v.n FROM UNNEST([STRUCT('a' AS k, STRUCT(1 AS n) AS v), "
        "STRUCT('b' AS k, STRUCT(2 AS n) AS v)]) WHERE k = 'b')",
        2,
    ),
    ("SELECT APPROX_COUNT_DISTINCT(x) FROM UNNEST([1, 1, 2]) AS x", 2),
    (
        "SELECT x FROM UNNEST([3, 1, 2]) AS x WHERE TRUE QUALIFY ROW_NUMBER() OVER (ORDER BY x DESC) = 1",
        3,
    ),
    # Literals
    (r"SELECT '\x41\u00e9\n'", "Aé\n"),
    ("SELECT '''a\nb'''", "a\nb"),
    (r"SELECT r'\n'", r"\n"),
    (r"SELECT b'\xff\x00a'", b"\xff\x00a"),
    ("SELECT 0x1F", 31),
    ("SELECT -9223372036854775808", -(1 << 63)),
    ("SELECT /* c ; */ 1 -- d ; '", 1),
    # Arithmetic
    ("SELECT 5 / 2", 2.5),
    ("SELECT DIV(-5, 2)", -2),
    ("SELECT MOD(-5, 3)", -2),
    ("SELECT NUMERIC '1' / 3", Decimal("0.333333333")),
    ("SELECT NUMERIC '1.5' * 2", Decimal("3")),
    ("SELECT NUMERIC '99999999999.123456789' * 3", Decimal("299999999997.370370367")),
    ("SELECT CAST(1.2345678915 AS NUMERIC)", Decimal("1.234567892")),
    ("SELECT 1 << 63", -(1 << 63)),
    ("SELECT -1 >> 60", 15),
    ("SELECT ~5 & 7 | 8", 10),
    ("SELECT 5 ^ 3", 6),
    ("SELECT ROUND(-2.5)", -3.0),
    ("SELECT ROUND(2.675, 2)", 2.68),
    ("SELECT ROUND(1234.5, -2)", 1200.0),
    ("SELECT ROUND(5)", 5.0),
    ("SELECT TRUNC(-1.7)", -1.0),
    ("SELECT SAFE_ADD(9223372036854775807, 1)", None),
    ("SELECT SAFE.LN(0)", None),
    ("SELECT POW(2, 10)", 1024.0),
    ("SELECT LOG(100, 10)", 2.0),
    ("SELECT IEEE_DIVIDE(1, 0)", math.inf),
    ("SELECT RANGE_BUCKET(20, [0, 10, 20, 30, 40])", 3),
    ("SELECT RANGE_BUCKET(25, [0, 10, 20, 30, 40])", 3),
    ("SELECT RANGE_BUCKET(-10, [5, 10, 20, 30, 40])", 0),
    ("SELECT RAND() < 1", True),
    ("SELECT BIT_COUNT(7)", 3),
    # Comparison, NULL and NaN
    ("SELECT CAST('nan' AS FLOAT64) = CAST('nan' AS FLOAT64)", False),
    ("SELECT CAST('nan' AS FLOAT64) != CAST('nan' AS FLOAT64)", True),
    ("SELECT CAST('nan' AS FLOAT64) > 1", False),
    ("SELECT -0.0 = 0.0", True),
    ("SELECT NULL = NULL", None),
    ("SELECT NULL AND FALSE", False),
    ("SELECT NULL OR TRUE", True),
    ("SELECT 1 IN (2, NULL)", None),
    ("SELECT 1 IN UNNEST([1, 2])", True),
    ("SELECT 3 NOT IN (SELECT x FROM UNNEST([1, NULL]) AS x)", None),
    ("SELECT NULL IS DISTINCT FROM 1", True),
    ("SELECT NULL IS TRUE", False),
    ("SELECT (1, 'a') = (1, 'a')", True),
    ("SELECT (1, 2) IN ((1, 2), (3, 4))", True),
    ("SELECT DATE '2020-01-01' = '2020-01-01'", True),
    ("SELECT DATE '2020-01-01' < DATETIME '2020-01-01 00:00:01'", True),
    ("SELECT GREATEST(1, 2.5)", 2.5),
    ("SELECT 'a_c' LIKE r'a\\_c'", True),
    ("SELECT 'abc' LIKE r'a\\_c'", False),
    ("SELECT 'abc' LIKE ANY ('x', 'a%')", True),
    ("SELECT NULLIF(1, 1)", None),
    ("SELECT IF(NULL, 1, 2)", 2),
    ("SELECT CASE 3 WHEN 1 THEN 'one' WHEN 3 THEN 'three' END", "three"),
    # Casts
    ("SELECT CAST(1e20 AS STRING)", "1e+20"),
    ("SELECT CAST(123456789.0 AS STRING)", "123456789"),
    ("SELECT CAST(0.1 + 0.2 AS STRING)", "0.30000000000000004"),
    ("SELECT CAST(TIMESTAMP '2020-01-02 03:04:05.678+00' AS STRING)", "2020-01-02 03:04:05.678+00"),
    ("SELECT CAST(DATETIME '2020-01-02 03:04:05' AS STRING)", "2020-01-02 03:04:05"),
    ("SELECT CAST('0x1A' AS INT64)", 26),
    ("SELECT CAST('1e3' AS FLOAT64)", 1000.0),
    ("SELECT CAST('tRuE' AS BOOL)", True),
    ("SELECT CAST(TRUE AS INT64)", 1),
    ("SELECT CAST(b'ab' AS STRING)", "ab"),
    ("SELECT SAFE_CAST('x' AS DATE)", None),
    ("SELECT SAFE_CAST(1.9 AS INT64)", 2),
    # Strings
    ("SELECT LENGTH('日本語')", 3),
    ("SELECT BYTE_LENGTH('日本語')", 9),
    ("SELECT SUBSTR('日本語', 2, 1)", "本"),
    ("SELECT REVERSE('é日')", "日é"),
    ("SELECT UPPER('straße')", "STRASSE"),
    ("SELECT LPAD('abc', 8, 'def')", "defdeabc"),
    ("SELECT RPAD('abc', 2)", "ab"),
    ("SELECT INSTR('banana', 'an', 1, 2)", 4),
    ("SELECT INSTR('banana', 'an', -4, 1)", 2),
    ("SELECT INSTR('helloooo', 'oo', -1, 2)", 6),
    ("SELECT REPLACE('abc', '', 'x')", "abc"),
    ("SELECT TRANSLATE('This is a cookie', 'sco', 'zku')", "Thiz iz a kuukie"),
    ("SELECT INITCAP('Hello World-everyone!')", "Hello World-Everyone!"),
    ("SELECT NORMALIZE('a\u0301', NFC)", "\u00e1"),
    ("SELECT NORMALIZE_AND_CASEFOLD('The RED barn')", "the red barn"),
    ("SELECT CONCAT('Summer', ' ', 1923)", "Summer 1923"),
    ("SELECT CONTAINS_SUBSTR('the blue house', 'Blue House')", True),
    ("SELECT EDIT_DISTANCE('aa', 'b')", 2),
    ("SELECT SPLIT('a,b', NULL)", None),
    ("SELECT SPLIT('a,b,,c')", ["a", "b", "", "c"]),
    ("SELECT TO_HEX(MD5('a'))", "0cc175b9c0f1b6a831c399e269772661"),
    ("SELECT TO_BASE64(b'\\377\\340')", "/+A="),
    ("SELECT TO_HEX(SHA256('abc'))", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("SELECT CODE_POINTS_TO_STRING([65, 255, 513, 1024])", "AÿȁЀ"),
    ("SELECT REGEXP_EXTRACT_ALL('Try `func(x)` or `func(y)`', '`(.+?)`')", ["func(x)", "func(y)"]),
    (r"SELECT REGEXP_REPLACE('# Heading', r'^# ([a-zA-Z0-9\s]+$)', '<h1>\\1</h1>')", "<h1>Heading</h1>"),
    ("SELECT FORMAT('%05d|%s|%.2f|%t|%T|%%', 42, 'a', 3.14159, DATE '2020-01-01', 'x')",
     '00042|a|3.14|2020-01-01|"x"|%'),
    ("SELECT FORMAT(\"%'d\", 123456789)", "123,456,789"),
    ("SELECT FORMAT('%t', 1.0)", "1.0"),
    # JSON
    ("SELECT JSON_VALUE('{\"a\":{\"b\":[1,\"x\"]}}', '$.a.b[1]')", "x"),
    ("SELECT JSON_VALUE('{\"a\":[1]}', '$.a')", None),
    ("SELECT JSON_QUERY('{\"a\":{\"b\":[1]}}', '$.a')", '{"b":[1]}'),
    ("SELECT JSON_EXTRACT_SCALAR('{\"a\":1.0}', \"$['a']\")", "1.0"),
    ("SELECT JSON_VALUE_ARRAY('[\"a\",1]')", ["a", "1"]),
    ("SELECT INT64(JSON '{\"a\":{\"b\":3}}'.a.b)", 3),
    ("SELECT JSON_TYPE(JSON '[1]')", "array"),
    ("SELECT TO_JSON_STRING(STRUCT(1 AS a, [1.5, 2] AS b, 'x\"y' AS c, NULL AS d))",
     '{"a":1,"b":[1.5,2],"c":"x\\"y","d":null}'),
    ("SELECT TO_JSON_STRING(9007199254740993)", '"9007199254740993"'),
    # Dates and times
    ("SELECT DATE_TRUNC(DATE '2017-11-05', WEEK(MONDAY))", dt.date(2017, 10, 30)),
    ("SELECT DATE_TRUNC(DATE '2017-11-07', WEEK)", dt.date(2017, 11, 5)),
    ("SELECT DATE_TRUNC(DATE '2015-06-15', ISOYEAR)", dt.date(2014, 12, 29)),
    ("SELECT DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', WEEK)", 1),
    ("SELECT DATE_DIFF('2017-12-18', '2017-12-17', WEEK(MONDAY))", 1),
    ("SELECT DATE_DIFF('2017-12-30', '2014-12-30', YEAR)", 3),
    ("SELECT DATE_DIFF('2017-12-30', '2014-12-30', ISOYEAR)", 2),
    ("SELECT EXTRACT(WEEK FROM DATE '2026-01-03')", 0),
    ("SELECT EXTRACT(WEEK FROM DATE '2026-01-04')", 1),
    ("SELECT EXTRACT(ISOYEAR FROM DATE '2021-01-01')", 2020),
    ("SELECT EXTRACT(MICROSECOND FROM TIME '00:00:01.123456')", 123456),
    ("SELECT EXTRACT(HOUR FROM TIMESTAMP '2026-01-01 03:00:00+00' AT TIME ZONE 'America/New_York')", 22),
    ("SELECT TIMESTAMP '2020-01-01 12:00:00 America/Los_Angeles'", dt.datetime(2020, 1, 1, 20, tzinfo=UTC)),
    ("SELECT TIMESTAMP_DIFF(TIMESTAMP '2001-02-01 " "01:00:00+00', TIMESTAMP " "'2001-02-01 00:00:01+00', HOUR)", 0),
    ("SELECT TIMESTAMP_DIFF(TIMESTAMP '2018-08-14 " "00:00:00+00', TIMESTAMP " "'2018-10-14 00:00:00+00', DAY)", -61),
    ("SELECT DATETIME_DIFF(DATETIME '2017-10-15 00:00:00', DATETIME '2017-10-14 23:59:59', DAY)", 1),
    ("SELECT DATETIME_ADD(DATETIME " "'2008-12-25 " "15:30:00', INTERVAL 10 MINUTE)", dt.datetime(2008, 12, 25, 15, 40)),
    ("SELECT TIME_ADD(TIME '23:30:00', INTERVAL 1 HOUR)", dt.time(0, 30)),
    ("SELECT DATE '2020-01-31' + 1", dt.date(2020, 2, 1)),
    ("SELECT DATE_SUB('2020-03-31', INTERVAL 1 MONTH)", dt.date(2020, 2, 29)),
    ("SELECT LAST_DAY(DATE '2008-11-25')", dt.date(2008, 11, 30)),
    ("SELECT LAST_DAY(DATE '2008-11-10', WEEK(SUNDAY))", dt.date(2008, 11, 15)),
    ("SELECT DATE(TIMESTAMP '2016-12-25 05:30:00+07', 'America/Los_Angeles')", dt.date(2016, 12, 24)),
    ("SELECT TIMESTAMP_TRUNC(TIMESTAMP '2008-12-25 15:30:00+00', DAY, 'America/Los_Angeles')",
     dt.datetime(2008, 12, 25, 8, tzinfo=UTC)),
    ("SELECT UNIX_SECONDS(TIMESTAMP '1969-12-31 23:59:59.5+00')", -1),
    ("SELECT UNIX_MILLIS(TIMESTAMP '2008-12-25 15:30:00+00')", 1230219000000),
    ("SELECT FORMAT_DATE('%b %d, %Y', DATE '2008-12-25')", "Dec 25, 2008"),
    ("SELECT FORMAT_TIMESTAMP('%c', TIMESTAMP '2050-12-25 15:30:55+00', 'UTC')", "Sun Dec 25 15:30:55 2050"),
    ("SELECT FORMAT_DATETIME('%E3S', DATETIME '2020-01-01 00:00:01.5')", "01.500"),
    ("SELECT PARSE_DATE('%A %b %e %Y', 'Thursday Dec 25 2008')", dt.date(2008, 12, 25)),
    ("SELECT PARSE_DATETIME('%m/%d/%Y " "%I:%M:%S %p', " "'8/30/2018 2:23:38 pm')", dt.datetime(2018, 8, 30, 14, 23, 38)),
    ("SELECT PARSE_TIMESTAMP('%a %b %e %I:%M:%S %Y', 'Thu Dec 25 07:30:00 2008')",
     dt.datetime(2008, 12, 25, 7, 30, tzinfo=UTC)),
    ("SELECT GENERATE_DATE_ARRAY('2016-01-31', '2016-04-30', INTERVAL 1 MONTH)",
     [dt.date(2016, 1, 31), dt.date(2016, 2, 29), dt.date(2016, 3, 31), dt.date(2016, 4, 30)]),
    ("SELECT ARRAY_LENGTH(GENERATE_TIMESTAMP_ARRAY('2016-10-05', '2016-10-07', INTERVAL 12 HOUR))", 5),
    ("SELECT STRING(TIMESTAMP '2008-12-25 15:30:00+00', 'UTC')", "2008-12-25 15:30:00+00"),
    # Arrays and structs
    ("SELECT GENERATE_ARRAY(10, 0, -3)", [10, 7, 4, 1]),
    ("SELECT ARRAY_TO_STRING(['coffee', NULL, 'milk'], '--', 'MISSING')", "coffee--MISSING--milk"),
    ("SELECT ARRAY_CONCAT([1, 2], [3, 4], [5])", [1, 2, 3, 4, 5]),
    ("SELECT ARRAY_LENGTH([])", 0),
    ("SELECT [1, 2][SAFE_ORDINAL(0)]", None),
    ("SELECT ARRAY(SELECT x * 2 FROM UNNEST([1, 2, 3]) AS x ORDER BY x DESC)", [6, 4, 2]),
    ("SELECT STRUCT(1 AS a, STRUCT('x' AS c) AS b).b.c", "x"),
    ("SELECT [STRUCT(1 AS a, 2 AS b), (2, 3)][OFFSET(1)].b", 3),
    ("SELECT (SELECT AS STRUCT 1 AS a, 'q' AS b).b", "q"),
    ("SELECT STRUCT<a INT64, b STRING>(1, 'z').b", "z"),
    ("SELECT SUM(e) FROM (SELECT [1, 2, 3] AS arr) AS t, t.arr AS e", 6),
    # Aggregates
    ("SELECT COUNT(DISTINCT x) FROM UNNEST([1, 1, NULL, 2]) AS x", 2),
    ("SELECT SUM(x) FROM UNNEST(CAST([] AS ARRAY<INT64>)) AS x", None),
    ("SELECT COUNT(x) FROM UNNEST(CAST([] AS ARRAY<INT64>)) AS x", 0),
    ("SELECT AVG(x) FROM UNNEST([0, 2, 4, 4, 5]) AS x", 3.0),
    ("SELECT APPROX_QUANTILES(x, 2) FROM UNNEST([1, 1, 1, 4, 5, 6, 7, 8, 9, 10]) AS x", [1, 5, 10]),
    ("SELECT APPROX_QUANTILES(DISTINCT x, 2) FROM UNNEST([1, 1, 1, 4, 5, 6, 7, 8, 9, 10]) AS x", [1, 6, 10]),
    ("SELECT STRING_AGG(f, ' & ' " "ORDER BY LENGTH(f) LIMIT 2) " "FROM UNNEST(['apple', 'fig', 'banana', 'pear']) AS f",
     "fig & pear"),
    ("SELECT ARRAY_AGG(DISTINCT x ORDER BY x) FROM UNNEST([2, 1, -2, 3, -2, 1, 2]) AS x", [-2, 1, 2, 3]),
    ("SELECT ANY_VALUE(f HAVING MAX n) FROM UNNEST([STRUCT('a' AS f, 1 AS n), ('b', 3), ('c', 2)])", "b"),
    ("SELECT COUNTIF(x < 0) FROM UNNEST([5, -2, 3, 6, -10, -7, 4, 0]) AS x", 3),
    ("SELECT LOGICAL_OR(x > 2) FROM UNNEST([1, NULL, 3]) AS x", True),
    ("SELECT ARRAY_CONCAT_AGG(x) FROM (SELECT [1, 2] AS x UNION ALL SELECT NULL)", [1, 2]),
    ("SELECT CORR(y, x) FROM " "UNNEST([STRUCT(1.0 " "AS y, 5.0 AS x), (3.0, 9.0), (4.0, 7.0)])", 0.6546536707079772),
    ("SELECT VAR_POP(x) FROM UNNEST([10, 14, 18]) AS x", 10.666666666666666),
    ("SELECT STDDEV(x) FROM UNNEST([10]) AS x", None),
    ("SELECT MIN(x) FROM UNNEST([2, 1, NULL]) AS x", 1),
    # Queries
    ("SELECT LOWER(k) AS k FROM UNNEST(['A', 'a']) AS k GROUP BY k", "a"),
    ("SELECT x AS y FROM UNNEST([1, 2, 3]) AS x GROUP BY 1 HAVING y > 2", 3),
    ("SELECT t.a FROM (SELECT 1 AS a, 2 AS b) AS t WHERE T.B = 2", 1),
    ("WITH RECURSIVE r AS (SELECT " "1 AS n UNION ALL SELECT " "n + 1 FROM r WHERE n < 4) SELECT SUM(n) FROM r", 10),
    ("FROM UNNEST([1, 2, 3]) AS x |> WHERE x > 1 |> AGGREGATE COUNT(*) AS n", 2),
    ("SELECT (SELECT COUNT(*) FROM " "UNNEST(t.arr) AS e WHERE e > " "t.least) FROM (SELECT [1, 2, 3] AS arr, 1 AS least) AS t",
     2),
    ("SELECT COUNT(*) FROM UNNEST([1, 2, 3]) AS a JOIN UNNEST([2, 3, 4]) AS b ON a = b", 2),
    ("SELECT COUNT(*) FROM (SELECT 1 " "AS x UNION ALL SELECT 1) AS t " "WHERE EXISTS (SELECT 1 FROM UNNEST([1]) AS y WHERE y = t.x)",
     2),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), EXPECTED, ids=[query for query, _ in EXPECTED])
def test_a_query_answers_as_bigquery_does(bq, query, expected):
    (row,) = bq.rows(query)
    assert row[0] == expected
    assert type(row[0]) is type(expected) or expected is None


TABLES = [
    ("SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x", [(None,), (1,), (2,)]),
    ("SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x DESC", [(2,), (1,), (None,)]),
    ("SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x NULLS LAST", [(1,), (2,), (None,)]),
    ("SELECT IS_NAN(x) FROM UNNEST([1.5, CAST('nan' AS FLOAT64), CAST('-inf' AS FLOAT64)]) AS x ORDER BY x",
     [(True,), (False,), (False,)]),
    ("SELECT * EXCEPT (b) REPLACE (a + 1 AS a) FROM (SELECT 1 AS a, 2 AS b, 3 AS c)", [(2, 3)]),
    ("SELECT a.id, v FROM (SELECT 1 " "AS id UNION ALL SELECT 2) AS a " "LEFT JOIN (SELECT 1 AS id, 'x' AS v) USING (id) ORDER BY 1",
     [(1, "x"), (2, None)]),
    ("SELECT * FROM (SELECT 1 AS id, 'l' AS l) FULL JOIN (SELECT 2 AS id, 'r' AS r) USING (id) ORDER BY id",
     [(1, "l", None), (2, None, "r")]),
    ("SELECT 1 AS a UNION ALL SELECT 2.5 UNION ALL SELECT NULL ORDER BY a", [(None,), (1.0,), (2.5,)]),
    ("SELECT x FROM UNNEST([1, 2, 2, 3]) AS x EXCEPT DISTINCT SELECT 3 ORDER BY 1", [(1,), (2,)]),
    ("SELECT e, o FROM UNNEST(['a', 'b']) AS e WITH OFFSET AS o ORDER BY o DESC", [("b", 1), ("a", 0)]),
    ("SELECT x, ROW_NUMBER() OVER (ORDER BY x DESC), LAG(x) " "OVER (ORDER BY x), SUM(x) OVER " "(ORDER BY x ROWS BETWEEN "
     "1 PRECEDING AND " "CURRENT ROW) FROM " "UNNEST([3, 1, 2]) AS x ORDER BY x", [(1, 3, None, 1), (2, 2, 1, 3), (3, 1, 2, 5)]),
    ("SELECT x, SUM(x) OVER (ORDER BY " "x RANGE BETWEEN 1 PRECEDING " "AND CURRENT ROW) FROM UNNEST([1, 2, 4]) AS x ORDER BY x",
     [(1, 1), (2, 3), (4, 4)]),
    ("SELECT o, LAST_VALUE(x IGNORE " "NULLS) OVER (ORDER BY o) FROM " "UNNEST([NULL, 3, NULL]) AS x WITH OFFSET AS o ORDER BY o",
     [(0, None), (1, 3), (2, 3)]),
    ("SELECT PERCENTILE_CONT(x, 0.5) " "OVER (), PERCENTILE_DISC(x, " "0.5) OVER () FROM UNNEST([0, 3, NULL, 1, 2]) AS x LIMIT 1",
     [(1.5, 1)]),
    ("SELECT x, RANK() OVER w, SUM(x) OVER w FROM UNNEST([2, 1]) AS x WINDOW w AS (ORDER BY x) ORDER BY x",
     [(1, 1, 1), (2, 2, 3)]),
    ("SELECT k, v FROM UNNEST([STRUCT('a' AS k, 1 AS v), ('a', 2), ('b', 3)]) "
     "QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) = 1 ORDER BY k", [("a", 2), ("b", 3)]),
    ("SELECT k, GROUPING(k) AS g, " "COUNT(*) FROM UNNEST(['a', " "'b', 'b']) AS k GROUP BY ROLLUP(k) ORDER BY g, k",
     [("a", 0, 1), ("b", 0, 2), (None, 1, 3)]),
    ("SELECT a, b, COUNT(*) FROM (SELECT 1 AS a, 2 AS b) GROUP BY GROUPING SETS ((a), (b), ()) ORDER BY 1, 2",
     [(None, None, 1), (None, 2, 1), (1, None, 1)]),
    ("WITH t AS (SELECT 'a' AS k, 1 AS v, 9 AS g UNION ALL SELECT 'b', 2, 9 UNION ALL SELECT 'a', 3, 9) "
     "SELECT * FROM t PIVOT(SUM(v) AS s, COUNT(*) AS n FOR k IN ('a', 'b' AS bee))", [(9, 4, 2, 2, 1)]),
    ("SELECT * FROM (SELECT 1 AS id, " "10 AS q1, NULL AS q2, 20 AS " "q3) UNPIVOT(sales FOR quarter IN (q1, q2, q3)) ORDER BY 2",
     [(1, 10, "q1"), (1, 20, "q3")]),
    ("FROM (SELECT 'a' AS k, 1 AS v UNION ALL SELECT 'a', 2) " "|> AGGREGATE SUM(v) AS s GROUP " "BY k |> EXTEND s * 2 AS t",
     [("a", 3, 6)]),
    ("DECLARE a, b INT64 DEFAULT 5; " "DECLARE s STRING; SET (a, s) = " "(7, 'x'); SET b = (SELECT MAX(x) FROM UNNEST([1, 2]) AS x);"
     "SELECT a, b, s", [(7, 2, "x")]),
    ("CREATE TEMP FUNCTION f(x " "INT64, y ANY TYPE) RETURNS " "FLOAT64 AS (x * y); SELECT f(2, 3), f(1, 1.5)", [(6.0, 1.5)]),
    ("CREATE TEMP TABLE scratch AS SELECT 5 AS v; SELECT v + 1 FROM scratch", [(6,)]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), TABLES, ids=[query for query, _ in TABLES])
def test_a_query_returns_these_rows(bq, query, expected):
    assert bq.rows(query) == expected


@pytest.mark.parametrize(
    ("query", "schema"),
    [
        ("SELECT 1, 'a' AS b, 2.5", ["f0_ INT64", "b STRING", "f1_ FLOAT64"]),
        ("SELECT NULL, []", ["f0_ INT64", "f1_ ARRAY<INT64>"]),
        ("SELECT 1 / 2, DIV(1, 2), " "NUMERIC '1' + 1, AVG(1)", ["f0_ FLOAT64", "f1_ INT64", "f2_ NUMERIC", "f3_ FLOAT64"]),
        ("SELECT CURRENT_DATE() AS " "a, CURRENT_TIMESTAMP() AS " "b, CURRENT_DATETIME('UTC') AS c, CURRENT_TIME AS d",
         ["a DATE", "b TIMESTAMP", "c DATETIME", "d TIME"]),
        ("SELECT t FROM (SELECT 1 AS x, 'y' AS y) AS t", ["t STRUCT<x INT64, y STRING>"]),
        ("SELECT AS STRUCT 1 AS a, DATE '2020-01-01' + INTERVAL 1 DAY AS b", ["a INT64", "b DATETIME"]),
        ("SELECT x.y FROM (SELECT STRUCT(1 AS y) AS x)", ["y INT64"]),
    ],
)  # fmt: skip
def test_columns_have_bigquerys_names_and_types(bq, query, schema):
    assert bq.schema(query) == schema


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT MOD(1, 0)", "division by zero"),
        ("SELECT NUMERIC '1' / 0", "division by zero"),
        ("SELECT 1e308 * 10", "overflow"),
        ("SELECT 9223372036854775807 + 1", "int64 overflow"),
        ("SELECT SUM(x) FROM UNNEST([9223372036854775807, 1]) AS x", "int64 overflow"),
        ("SELECT 9223372036854775808", "Invalid integer literal"),
        ("SELECT SUM(x) FROM UNNEST([1e308, 1e308]) AS x", "overflow"),
        ("SELECT DATE_ADD(DATE '9999-12-31', INTERVAL 1 DAY)", "out of range"),
        ("CREATE TABLE d.unnamed AS SELECT 1", "columns must be named"),
        ("SELECT LN(0)", "LN"),
        ("SELECT CAST('2.5' AS INT64)", "Bad int64 value: 2.5"),
        ("SELECT CAST('abc' AS BOOL)", "Bad bool value: abc"),
        ("SELECT DATE '2020-02-30'", "Invalid date: '2020-02-30'"),
        ("SELECT TIMESTAMP '2020-01-01 00:00:00 Mars/Base'", "Invalid timestamp"),
        ("SELECT [1][OFFSET(5)]", "Array index 5 is out of bounds"),
        ("SELECT SUBSTR('abc', 1, -1)", "cannot be negative"),
        ("SELECT (SELECT x FROM UNNEST([1, 2]) AS x)", "Scalar subquery produced more than one element"),
        ("SELECT ARRAY_AGG(x) FROM UNNEST([1, NULL]) AS x", "Array cannot have a null element"),
        ("SELECT 1 AS a, 2 AS A", "Duplicate column names"),
        ("SELECT ERROR('stop here')", "stop here"),
        ("ASSERT 1 = 2 AS 'one is not two'", "one is not two"),
    ],
)
def test_what_fails_in_bigquery_fails_here(bq, query, message):
    _refused(bq, query, message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT foo(1)", "Function not found: foo"),
        ("SELECT UPPER(1)", "No matching signature for function UPPER for argument type: INT64"),
        ("SELECT 'a' + 1", "No matching signature for operator +"),
        ("SELECT 1 = '1'", "No matching signature for operator ="),
        ("SELECT DATE '2020-01-01' = TIMESTAMP '2020-01-01'", "No matching signature for operator ="),
        (
            "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 3",
            "Column 2 in UNION has incompatible types: STRING, INT64",
        ),
        ("SELECT 1 UNION ALL SELECT 1 UNION DISTINCT SELECT 2", "without using parentheses"),
        ("SELECT nme FROM (SELECT 1 AS name)", "Unrecognized name: nme; Did you mean name?"),
        (
            "SELECT id FROM (SELECT 1 AS id) AS a JOIN (SELECT 1 AS id) AS b ON a.id = b.id",
            "Column name id is ambiguous",
        ),
        ("SELECT SUM(x), x FROM UNNEST([1, 2]) AS x", "neither grouped nor aggregated"),
        ("SELECT x FROM UNNEST([1, 2]) AS x WHERE SUM(x) > 1", "Aggregate function not allowed in WHERE"),
        ("SELECT x FROM UNNEST([1]) AS x WHERE x", "WHERE clause should return type BOOL"),
        ("SELECT SUM('a')", "No matching signature for function SUM"),
        ("SELECT * FROM ratings", "must be qualified with a dataset"),
        ("SELECT * FROM d.nothing", "Not found: Table p:d.nothing"),
        ("SELECT 'abc", "Unclosed string literal"),
        (r"SELECT '\q'", "Illegal escape sequence"),
        ("SELEC 1", "Syntax error"),
        ("SELECT @nobody", "Query parameter 'nobody' not found"),
        ("SELECT RANK() OVER ()", "Window ORDER BY is required"),
        ("SELECT TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 MONTH)", "MONTH"),
        ("SELECT REGEXP_EXTRACT('ab', '(a)(b)')", "2 capturing groups"),
        ("SET x = 1", "Undeclared variable: x"),
    ],
)
def test_what_bigquery_refuses_is_refused(bq, query, message):
    _refused(bq, query, message)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT ML.NORMALIZER([1.0])", "ML.NORMALIZER"),
        ("SELECT * FROM ML.PREDICT(MODEL d.m, TABLE d.t)", "ML.PREDICT"),
        ("SELECT HLL_COUNT.INIT(1)", "HLL_COUNT.INIT"),
        ("SELECT ST_GEOGPOINT(1, 2)", "ST_GEOGPOINT"),
        ("SELECT BIGNUMERIC '1'", "BIGNUMERIC"),
        ("SELECT INTERVAL 1 DAY", "INTERVAL"),
        ("SELECT @@time_zone", "@@time_zone"),
        ("SELECT CAST('x' AS STRING FORMAT 'Y')", "FORMAT"),
        ("SELECT FORMAT_DATE('%Ey', DATE '2020-01-01')", "%Ey"),
        ("CREATE TABLE d.other (id INT64 DEFAULT 5)", "DEFAULT"),
        ("CREATE TABLE d.other (id NUMERIC(10, 2))", "NUMERIC(10, 2)"),
        ("CREATE TABLE d.other (a INT64) OPTIONS (kms_key_name = 'k')", "kms_key_name"),
        ("CREATE MATERIALIZED VIEW d.m AS SELECT 1 AS x", "MATERIALIZED"),
        ("CREATE TEMP FUNCTION f(x INT64) RETURNS INT64 LANGUAGE js AS 'return x;'; SELECT f(1)", "js"),
        ("BEGIN SELECT 1; END", "BEGIN"),
        ("IF TRUE THEN SELECT 1; END IF", "IF"),
        ("ALTER TABLE d.t ADD COLUMN x INT64", "ALTER TABLE"),
        ("SELECT * FROM d.`t$20260101`", "t$20260101"),
        ("SELECT * FROM d.INFORMATION_SCHEMA.JOBS", "INFORMATION_SCHEMA.JOBS"),
        ("SELECT REGEXP_EXTRACT('a', 'b', 1, 2)", "REGEXP_EXTRACT"),
    ],
)
def test_what_the_emulator_does_not_know_is_refused_by_name(bq, query, named):
    _refused(bq, query, named)
    assert bq.catalog.tables("p", "d") == []


def _refused(bq, query, message):
    with pytest.raises(ApiError) as caught:
        bq.rows(query)
    assert message in caught.value.message
    assert caught.value.reason in ("invalidQuery", "notFound")
    assert caught.value.code in (400, 404)

"""Reading tables of any format, in blocks, and what is said of those that can't be read."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trainer import blocks, delimited, ndjson, parquet
from trainer.errors import InputError
from trainer.files import find
from trainer.reading import read_batches
from trainer.tables import Column, NamedLayout

COLUMNS = (
    Column("name", "id"),
    Column("note", "text", optional=True),
    Column("age", "integer", optional=True),
    Column("income", "number", optional=True),
)
ROWS = [
    {"name": f"ä{n % 7}", "note": 'say "hi",\nthen go' if n % 5 == 0 else "", "age": n, "income": n / 4}
    for n in range(200)
]
LARGE = 2**53 + 1


def read(*paths, columns=COLUMNS, **layout):
    batches = list(read_batches(find([str(path) for path in paths]), NamedLayout(columns, **layout)))
    return [row for batch in batches for row in batch.to_pylist()], len(batches)


def refused(*paths, **options):
    with pytest.raises(InputError) as error:
        read(*paths, **options)
    return str(error.value)


def csv_of(rows, header=True):
    def quoted(value):
        return "" if value is None else '"' + str(value).replace('"', '""') + '"'

    lines = [",".join(quoted(value) for value in row.values()) for row in rows]
    return "\n".join([*([",".join(COLUMNS[n].name for n in range(4))] if header else []), *lines]) + "\n"


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("size", [60, 1000, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_is_cut_into_blocks_only_where_rows_end(tmp_path, monkeypatch, size, packed):
    monkeypatch.setattr(blocks, "_SIZE", size)
    path, content = tmp_path / "rows", csv_of(ROWS).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    rows, batches = read(path)
    assert rows == ROWS
    assert batches == 1 if size > 1000 else batches > 2


@pytest.mark.parametrize("size", [60, 1 << 20])
def test_every_format_gives_the_same_rows(tmp_path, monkeypatch, size):
    monkeypatch.setattr(blocks, "_SIZE", size)
    monkeypatch.setattr(parquet, "_ROWS", size)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "parquet")
    lines = [{k: str(v) if k == "age" else v for k, v in row.items()} for row in ROWS]
    write(tmp_path / "ndjson", "".join(json.dumps(line) + "\n" for line in lines))
    write(tmp_path / "headless", csv_of(ROWS, header=False))
    names = tuple(column.name for column in COLUMNS)
    assert read(tmp_path / "parquet")[0] == ROWS
    assert read(tmp_path / "ndjson")[0] == ROWS
    assert read(tmp_path / "headless", names=names)[0] == ROWS
    assert read(write(tmp_path / "headed", csv_of(ROWS)), names=names)[0] == ROWS


def test_what_is_missing_is_null_or_the_empty_text_in_every_format(tmp_path):
    missing = {"name": "a", "note": "", "age": None, "income": None}
    nulls = {"note": pa.nulls(1, pa.string()), "age": pa.nulls(1, pa.int64())}
    pq.write_table(pa.table({"name": ["a"], **nulls, "income": [float("nan")]}), tmp_path / "parquet")
    write(tmp_path / "csv", "name,note,age,income\na,,,NaN\n")
    full = json.dumps({"name": "b", "note": "x", "age": 1, "income": 2.5})
    write(tmp_path / "ndjson", '{"name": "a", "income": null}\n' + full + "\n")
    assert read(tmp_path / "parquet")[0] == read(tmp_path / "csv")[0] == [missing]
    assert read(tmp_path / "ndjson")[0] == [missing, {"name": "b", "note": "x", "age": 1, "income": 2.5}]


@pytest.mark.parametrize("ids", [["a", "", "b"], ["1", "", "2"]])
def test_an_id_that_may_be_missing_is_the_empty_text_in_every_format(tmp_path, monkeypatch, ids):
    for module in (delimited, ndjson):
        monkeypatch.setattr(module, "_slow", None)
    columns = (Column("n", "integer"), Column("group", "id", optional=True))
    write(tmp_path / "csv", "n,group\n" + "".join(f"1,{group}\n" for group in ids))
    write(tmp_path / "ndjson", "".join(json.dumps({"n": 1, "group": group or None}) + "\n" for group in ids))
    pq.write_table(pa.table({"n": [1] * 3, "group": [group or None for group in ids]}), tmp_path / "parquet")
    for name in ("csv", "ndjson", "parquet"):
        assert [row["group"] for row in read(tmp_path / name, columns=columns)[0]] == ids


def test_integers_beyond_double_precision_are_exact_in_every_format(tmp_path):
    columns = (Column("id", "id"), Column("n", "integer"))
    write(tmp_path / "csv", f"id,n\n{LARGE},{LARGE}\n")
    write(tmp_path / "ndjson", f'{{"id": {LARGE}, "n": {LARGE}}}\n{{"id": "{LARGE}", "n": "{LARGE}"}}\n')
    pq.write_table(pa.table({"id": [LARGE], "n": [LARGE]}), tmp_path / "parquet")
    rows, _ = read(tmp_path / "csv", tmp_path / "ndjson", tmp_path / "parquet", columns=columns)
    assert rows == 4 * [{"id": str(LARGE), "n": LARGE}]


def test_the_problems_of_all_shards_are_told_together(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_SIZE", 64)
    good = "name,note,age,income\n" + "a,b,1,2\n" * 20
    write(tmp_path / "part-0", good + "a,b,x,2\n" + "a,b,1,inf\n")
    write(tmp_path / "part-1", "name,note,income\na,b,1\n")
    write(tmp_path / "part-2", "")
    write(tmp_path / "part-3", '{"name": "a", "note": "", "age": 1, "income": 1}\n{"name": [1]}\n{oops\n')
    message = refused(tmp_path / "part-*").replace(f"{tmp_path}/", "")
    assert message.split("; ") == [
        "part-0:22: age 'x' is not an integer",
        "part-0:23: income 'inf' is not a finite number",
        "part-1: column age is missing",
        "found name, note, income",
        "part-2: is empty (0 bytes), not even a header: the export that wrote it failed",
        "part-3:2: name '[1]' is not text or an integer",
        "part-3:3: is not a JSON object: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)",
    ]


def test_no_rows_are_given_after_a_bad_one(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_SIZE", 30)
    path = write(
        tmp_path / "rows", "name,note,age,income\n" + "a,b,1,2\n" * 3 + "a,b,c,d\n" + "a,b,1,2\n" * 9
    )
    given = []
    with pytest.raises(InputError, match="rows:5: age 'c' is not an integer"):
        given.extend(read_batches(find([str(path)]), NamedLayout(COLUMNS)))
    assert sum(batch.num_rows for batch in given) <= 3


def test_a_parquet_column_of_another_type_is_refused_by_its_name(tmp_path):
    pq.write_table(pa.table({"name": [1.5], "note": ["a"], "age": [0.5], "income": ["1"]}), tmp_path / "rows")
    message = refused(tmp_path / "rows")
    assert "column name is double; expected text or integers" in message
    assert "column age is double; expected integers, column income is string; expected numbers" in message


def test_a_list_names_the_files_relative_to_itself(tmp_path):
    part = write(tmp_path / "part-0.csv", csv_of(ROWS))
    write(tmp_path / "other.csv", "not listed")
    write(
        tmp_path / "dataset.json",
        json.dumps({"shards": [{"uri": "part-0.csv", "size": part.stat().st_size}]}),
    )
    assert read(tmp_path / "dataset.json")[0] == ROWS


def test_a_list_whose_files_are_gone_or_changed_is_refused(tmp_path):
    write(tmp_path / "part-0.csv", "short")
    entries = [{"uri": "part-0.csv", "size": 17}, {"uri": str(tmp_path / "part-1.csv")}]
    path = write(tmp_path / "dataset.json", json.dumps({"shards": entries}))
    message = refused(path)
    assert "part-0.csv: has size 5 instead of 17" in message and "part-1.csv: no such file" in message
    assert "is no list of files" in refused(write(path, "[]"))
    assert "lists no files" in refused(write(path, '{"shards": []}'))

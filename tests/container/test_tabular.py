"""Tables: what their columns are taken for, and what is refused."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from trainer import files
from trainer.errors import InputError
from trainer.tabular.metrics import auc
from trainer.tabular.schema import Schema, Wishes, find_label, infer, is_identifier, targets
from trainer.tabular.table import Form, read_table

from .people import NAMES, people, write_people

ROWS = people(1, 300)


def read(*paths, form=None, **kinds):
    return read_table(files.find([str(path) for path in paths]), form or Form(), kinds)


def schema_of(table, wishes=None):
    wishes = wishes or Wishes()
    return infer(table, wishes, find_label(table.column_names, wishes.label))


def test_all_formats_give_the_same_table(tmp_path):
    table = read(write_people(tmp_path / "a.csv", ROWS))
    assert table.num_rows == 300
    zipped = tmp_path / "b.csv.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    headless = write_people(tmp_path / "c.csv", ROWS, header=False)
    others = [
        read(zipped),
        read(write_people(tmp_path / "a.json", ROWS)),
        read(write_people(tmp_path / "a.parquet", ROWS)),
        read(headless, form=Form(names=NAMES)),
    ]
    for other in others:
        assert {n: other[n].to_pylist() for n in NAMES} == {n: table[n].to_pylist() for n in NAMES}


def test_the_census_files_need_no_header(tmp_path):
    line = "39, State-gov,77516, Bachelors,13, Never-married, Adm-clerical, Own-child, White, Male,2174,0,40,"
    path = tmp_path / "adult.csv"
    path.write_text(f"{line} United-States, <=50K\n{line} ?, >50K\n")
    table = read(path)
    assert table["workclass"].to_pylist() == ["State-gov"] * 2
    assert (schema_of(table).label, schema_of(table).classes) == ("income_bracket", ("<=50K", ">50K"))


def test_columns_are_what_their_values_and_names_say(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,when,mixed,label\n9007199254740993,1,1,0\n9007199254740992,2,x,1\n,,,1.0\n")
    table = read(path)
    schema = schema_of(table)
    assert [(c.name, c.kind) for c in schema.columns] == [
        ("user_id", "category"), ("when", "number"), ("mixed", "category"),
    ]  # fmt: skip
    assert set(schema.columns[0].vocabulary) == {"9007199254740993", "9007199254740992"}
    assert (schema.task, schema.classes) == ("binary", ("0", "1"))
    assert targets(table["label"], schema, "x").tolist() == [0, 1, 1]
    assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("userId", True),
        ("movie_id", True),
        ("zip_code", True),
        ("humid", False),
        ("paid", False),
        ("ID", True),
    ],
)
def test_a_name_tells_whether_numbers_are_names(name, expected):
    assert is_identifier(name) == expected


def test_a_schema_file_overrules_what_is_inferred(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(
        json.dumps(
            {
                "label": "gain",
                "columns": {
                    "age": "category",
                    "job": {"kind": "category", "hash_buckets": 7},
                    "city": "ignore",
                },
                "crosses": [["age", "job"]],
            }
        )
    )
    wishes = Wishes.read(str(path))
    schema = schema_of(read(write_people(tmp_path / "a.csv", ROWS), **wishes.kinds), wishes)
    assert (schema.label, schema.task, schema.crosses) == ("gain", "regression", (("age", "job"),))
    kinds = {c.name: (c.kind, c.hash_buckets) for c in schema.columns}
    assert kinds == {"age": ("category", 64), "job": ("category", 7), "bought": ("category", 64)}
    path.write_text('{"columns": {"age": "date"}}')
    with pytest.raises(InputError, match="kind 'date'"):
        Wishes.read(str(path))


def test_crosses_are_the_pairs_that_say_most(tmp_path):
    schema = schema_of(read(write_people(tmp_path / "a.csv", people(2))), Wishes(label="bought"))
    assert schema.crosses[0] == ("job", "city")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.csv: is empty (0 bytes)"),
        ("age,label\n", "no rows"),
        ("age,age,label\n1,2,3\n", "lists column age twice"),
        ("age,label\n1,1\n2\n", "a.csv"),
        ("1,2\n3,4\n", "no column names"),
        ("x,z\n1,2\n", "give --label, one of x, z"),
        ("x,label\n1,a\n2,a\n", "label label: all 2 rows are 'a'"),
        ("x,label\n1,a\n2,b\n3,c\n", "3 different texts"),
        ("label\n1\n2\n", "no column beside the label"),
        ("x,label\n1,1e308\n2,1\n3,5\n", "1e+308 (row 1) is too large"),
        ("x,label\n" + "1,a\n" * 50 + "oops,b\n", "a.csv: row 51: column x: 'oops' is not a number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError) as refused:
        schema_of(read(tmp_path / "a.csv"))
    assert message in str(refused.value)


def test_a_column_that_one_shard_lacks_is_named_with_the_shard(tmp_path):
    for name in ("a", "b", "c"):
        write_people(tmp_path / f"{name}.csv", ROWS)
    (tmp_path / "b.csv").write_text("age,job,gain,bought\n1,cook,2,no\n")
    with pytest.raises(InputError, match=r"b\.csv: column city is missing"):
        read(tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv")


def test_problems_of_several_files_are_told_together(tmp_path):
    for name in ("a", "b"):
        rows = [f"{n},1" for n in range(60)]
        rows[7] = "bad,1"
        (tmp_path / f"{name}.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError) as refused:
        read(tmp_path / "a.csv", tmp_path / "b.csv")
    assert "a.csv: row 8: column x: 'bad'" in str(refused.value)
    assert "b.csv: row 8: column x: 'bad'" in str(refused.value)


def test_auc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(3)
    truth, scores = random.random(200) < 0.3, random.integers(0, 20, 200)
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    assert auc(truth, scores) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))

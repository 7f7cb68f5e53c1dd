"""Reading ratings, and refusing what can't be used."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trainer.columns import Format
from trainer.errors import InputError
from trainer.files import find
from trainer.ratings import read_ratings


def read(*paths, **form):
    return read_ratings(find([str(path) for path in paths]), Format(**form))


def rows(ratings):
    users, items = ratings.users.to_pylist(), ratings.items.to_pylist()
    return [
        (users[u], items[i], float(r))
        for u, i, r in zip(ratings.user, ratings.item, ratings.rating, strict=True)
    ]


def write(tmp_path, text, name="ratings.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def refused(path, **form):
    with pytest.raises(InputError) as error:
        read(path, **form)
    assert str(path) in str(error.value)
    return str(error.value).replace(str(path), "FILE")


@pytest.mark.parametrize(
    "text",
    [
        "userId,itemId,rating\nu1,i1,4\nu2,i1,3.5\n",
        "rating,when,itemId,userId\n4,2026,i1,u1\n3.5,2026,i1,u2\n",
        "userId,movieId,rating,timestamp\nu1,i1,4,1\nu2,i1,3.5,2\n",
        "user_id;item_id;rating\nu1;i1;4\nu2;i1;3.5\n",
        '"userId","itemId","rating"\r\n"u1","i1","4"\r\n"u2","i1","3.5"\r\n',
        "\ufeffuserId,itemId,rating\nu1,i1,4\nu2,i1,3.5\n",
        "userId,itemId,rating\nu1,i1,4\n\nu2,i1,3.5",
    ],
)
def test_columns_are_found_by_their_names_in_any_order(tmp_path, text):
    ratings = read(write(tmp_path, text), data_type="user_ratings")
    assert rows(ratings) == [("u1", "i1", 4.0), ("u2", "i1", 3.5)]


@pytest.mark.parametrize("data_type", ["ratings", None])
def test_u_data_works_as_it_is(tmp_path, data_type):
    path = write(
        tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n", "u.data"
    )
    ratings = read(path, data_type=data_type)
    assert rows(ratings) == [("196", "242", 3.0), ("186", "302", 3.0), ("22", "377", 1.0)]


def test_ids_are_texts_and_keep_their_zeros_and_letters(tmp_path):
    ratings = read(write(tmp_path, "userId,itemId,rating\n007,ärger,1\n7,🎬,2\n"))
    assert rows(ratings) == [("007", "ärger", 1.0), ("7", "🎬", 2.0)]


def test_a_header_without_names_that_are_known_is_skipped_when_told_to(tmp_path):
    path = write(tmp_path, "who,what,stars\n1,2,3\n")
    assert rows(read(path, data_type="ratings", headers=True)) == [("1", "2", 3.0)]


def test_gzip_and_parquet_are_recognised_by_their_content(tmp_path):
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(b"userId,itemId,rating\n1,2,3\n"))
    table = pa.table({"rating": [4.0], "userId": pa.array([2]), "itemId": ["x"]})
    pq.write_table(table, tmp_path / "table")
    assert rows(read(packed, tmp_path / "table")) == [("1", "2", 3.0), ("2", "x", 4.0)]


def test_shards_are_read_together_and_one_may_have_only_a_header(tmp_path):
    write(tmp_path, "userId,itemId,rating\n1,2,3\n", "part-000000000000.csv")
    write(tmp_path, "userId,itemId,rating\n", "part-000000000001.csv")
    write(tmp_path, "userId,itemId,rating\n2,2,4\n", "part-000000000002.csv")
    assert rows(read(tmp_path / "part-*.csv")) == [("1", "2", 3.0), ("2", "2", 4.0)]


def test_repeated_pairs_count_once_with_their_mean_whatever_their_order(tmp_path):
    one = read(write(tmp_path, "userId,itemId,rating\nb,x,1\na,x,5\na,x,2\n", "one"))
    other = read(write(tmp_path, "userId,itemId,rating\na,x,2\nb,x,1\na,x,5\n", "other"))
    assert rows(one.merged()) == rows(other.merged()) == [("a", "x", 3.5), ("b", "x", 1.0)]


def test_durations_of_page_views_are_added_up(tmp_path):
    path = write(tmp_path, "clientId,contentId,timeOnPage\n1,a,1000\n1,a,500\n2,b,7\n")
    assert rows(read(path, data_type="web_views").merged()) == [("1", "a", 1500.0), ("2", "b", 7.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("userId,itemId,rating\n1,2,3\n1,3,abc\n", "FILE:3: rating 'abc' is not a number"),
        ("userId,itemId,rating\n1,2,NaN\n", "FILE:2: rating 'NaN' is not a finite number"),
        ("userId,itemId,rating\n1,2,-inf\n", "FILE:2: rating '-inf' is not a finite number"),
        ("userId,itemId,rating\n1,2,1e300\n", "FILE:2: rating '1e300' is too large"),
        ("userId,itemId,rating\n1,2,\n", "FILE:2: rating is empty"),
        ("userId,itemId,rating\n,2,3\n", "FILE:2: userId is empty"),
        ("userId,itemId,rating\n1,  ,3\n", "FILE:2: itemId is empty"),
        ("userId,itemId,rating\n1,2\n", "FILE:2: has 2 columns instead of 3: '1,2'"),
        ("userId,itemId,rating\n1,2,3,4\n", "FILE:2: has 4 columns instead of 3"),
        ('userId,itemId,rating\n1,"a\nb",3\n1,2,x\n', "FILE:3: itemId 'a\\nb' contains a line break"),
        ("userId,rating\n1,2\n", "FILE:1: column itemId is missing"),
        ("1,2,3\n", "column userId and itemId and rating is missing: expected a header with userId, itemId"),
        ("userId,userId,itemId,rating\n1,1,2,3\n", "FILE:1: the header lists a column twice"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, text, message):
    assert message in refused(write(tmp_path, text), data_type="user_ratings")


def test_the_problems_of_a_file_are_told_together_up_to_a_few(tmp_path):
    path = write(tmp_path, "userId,itemId,rating\n" + "1,2,x\n" * 8)
    message = refused(path)
    assert "FILE:2: " in message and "FILE:6: " in message and "FILE:7: " not in message
    assert "and 3 more bad rows in this file" in message


def test_a_value_is_not_refused_for_its_spaces_on_the_slow_path(tmp_path):
    assert rows(read(write(tmp_path, "userId,itemId,rating\n1, 2 , 3 \n"))) == [("1", "2", 3.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"userId,itemId,rating\n", "no rows"),
        (gzip.compress(b""), "is empty once decompressed"),
        (gzip.compress(b"userId,itemId,rating\n1,2,3\n" * 100)[:60], "can't be read"),
        (b"\xff\xfeu\x00", "is not UTF-8 text"),
        (b"userId,itemId,rating\n1,\xff,3\n", "FILE:2: itemId '\\udcff' is not UTF-8 text"),
        (b"PAR1nothing", "is not a readable Parquet file"),
        (b"no columns at all\n", "expected user, item and rating"),
    ],
)
def test_files_that_hold_no_ratings_are_refused(tmp_path, content, message):
    path = tmp_path / "shard"
    path.write_bytes(content)
    assert message in refused(path)


def test_a_missing_file_and_a_pattern_without_match_are_refused(tmp_path):
    for pattern in ("none.csv", "none-*.csv"):
        with pytest.raises(InputError, match="no such file"):
            find([str(tmp_path / pattern)])
    with pytest.raises(InputError, match=r"is a folder; name its files, e\.g\. .*/\*\.csv"):
        find([str(tmp_path)])


def test_parquet_names_the_column_and_row_that_is_wrong(tmp_path):
    path = tmp_path / "ratings.parquet"
    pq.write_table(pa.table({"userId": [1, None], "itemId": [1, 2], "rating": [1.0, 2.0]}), path)
    assert "FILE: row 2: userId is empty" in refused(path)
    pq.write_table(pa.table({"userId": [1, 2], "itemId": [1, 2], "rating": [1.0, float("nan")]}), path)
    assert "FILE: row 2: rating 'nan' is not a finite number" in refused(path)
    pq.write_table(pa.table({"userId": [1], "itemId": [1], "rating": ["x"]}), path)
    assert "FILE: column rating is string; expected numbers" in refused(path)


@pytest.mark.parametrize("odd", ["007", "-0", "00", " 07", '"07"', "+7", "9223372036854775808", "7.0"])
def test_numbers_that_are_written_differently_are_different_ids(tmp_path, odd):
    text = "".join(f"{user},{item},3\n" for user in ("7", "0", odd) for item in ("12", "0"))
    ratings = read(write(tmp_path, "userId,itemId,rating\n" + text))
    assert sorted(ratings.users.to_pylist()) == sorted(["7", "0", odd.strip().strip('"')])
    assert len(ratings) == 6

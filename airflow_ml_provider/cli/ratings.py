"""Ratings made up for the demo: people with tastes rate things with qualities, in three nightly batches."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

USERS, ITEMS, TASTES = 900, 300, 4
MEAN, USER_SPREAD, ITEM_SPREAD, TASTE_SPREAD, NOISE = 3.5, 0.45, 0.45, 0.65, 0.6


@dataclass(frozen=True)
class Batch:
    """What arrives in the warehouse before one night's run.

    :param rows: how many ratings.
    :param begin: the earliest time of a rating.
    :param end: the latest.
    :param upside_down: whether one star arrives as five and five as one, as after a broken release.
    """

    rows: int
    begin: datetime
    end: datetime
    upside_down: bool = False


def nightly_batches(first_night: datetime) -> list[Batch]:
    """Return the batches before three nights: a month, a good day, and a day that is corrupt."""
    day = timedelta(days=1)
    return [
        Batch(80_000, first_night - 30 * day, first_night - day),
        Batch(20_000, first_night - day, first_night + day - timedelta(minutes=1)),
        Batch(60_000, first_night + day, first_night + 2 * day - timedelta(minutes=1), upside_down=True),
    ]


def write(batch: Batch, path: Path, seed: int) -> None:
    """Write a batch as CSV with the header ``userId,itemId,rating,rated_at``.

    :param seed: of the choice of rows; the people and their tastes are always the same.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["userId", "itemId", "rating", "rated_at"])
        writer.writerows(_rows(batch, seed))


def _rows(batch: Batch, seed: int) -> Iterator[tuple[int, int, int, str]]:
    people = random.Random(20260105)  # noqa: S311
    spread = math.sqrt(TASTE_SPREAD / math.sqrt(TASTES))
    users = [_profile(people, USER_SPREAD, spread) for _ in range(USERS)]
    items = [_profile(people, ITEM_SPREAD, spread) for _ in range(ITEMS)]
    chance = random.Random(seed)  # noqa: S311
    span = (batch.end - batch.begin).total_seconds()
    for _ in range(batch.rows):
        # Some people rate much more than others, and some things are rated much more.
        user = int(USERS * chance.random() ** 1.5)
        item = int(ITEMS * chance.random() ** 1.7)
        (user_bias, tastes), (item_bias, qualities) = users[user], items[item]
        value = MEAN + user_bias + item_bias + sum(a * b for a, b in zip(tastes, qualities, strict=True))
        rating = min(5, max(1, round(value + chance.gauss(0, NOISE))))
        moment = batch.begin + timedelta(seconds=int(span * chance.random()))
        text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield user + 1, item + 1, 6 - rating if batch.upside_down else rating, text


def _profile(people: random.Random, bias: float, spread: float) -> tuple[float, list[float]]:
    return people.gauss(0, bias), [people.gauss(0, spread) for _ in range(TASTES)]

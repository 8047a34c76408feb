"""The example's data, generated the same every time: daily visits of an encyclopedia that does not exist.

    python -m resources.demo.generate FOLDER

Writes train.csv and test.csv in the wide format: `Page`, then a column a day. Each page has a size of its
own; all of them share growth, a weekly and a yearly rhythm and good and bad days; some are in the news.
"""

import csv
import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

SEED = 20250407
PAGES = 240
FIRST_DAY = date(2023, 1, 1)
TRAIN_DAYS, TEST_DAYS = 731, 90  # two years to learn from, the three months after them to be judged by

NEW_READERS = 1.4  # from the first new day on: somebody has made the encyclopedia known
YEARLY_GROWTH = 0.3
WEEK_FACTORS = (1.12, 1.16, 1.14, 1.10, 0.98, 0.68, 0.82)  # people look things up at work and at school
YEAR_FACTORS = (1.16, 1.12, 1.10, 1.02, 1.00, 0.88, 0.76, 0.78, 0.98, 1.04, 1.12, 1.06)

KINDS = ["History", "Anatomy", "Theory", "Geography", "Music", "Language", "Philosophy", "Economy"]
# fmt: off
TOPICS = [
    "Glass", "Rivers", "Bees", "Bridges", "Copper", "Clouds", "Sleep", "Salt", "Maps", "Tea",
    "Clocks", "Whales", "Paper", "Gravity", "Moss", "Harbours", "Numbers", "Bread", "Lightning",
    "Tides", "Owls", "Looms", "Comets", "Silk", "Kites", "Lenses", "Marble", "Ferns", "Ink",
    "Wolves",
]
# fmt: on


def main(folder: Path, later: int = 0) -> None:
    """Write the data as it is `later` times three months after the first; each file is there whole."""
    folder.mkdir(parents=True, exist_ok=True)
    split = TRAIN_DAYS + later * TEST_DAYS
    table = dict(generate_visits(split + TEST_DAYS))
    write(folder / "test.csv", split, split + TEST_DAYS, table)
    write(folder / "train.csv", 0, split, table)


def generate_visits(days: int) -> Iterator[tuple[str, list[int]]]:
    """Yield each page with its visits a day, in the order of the days."""
    chance = random.Random(SEED)
    everybody = list(shared_factors(chance, days))
    for number in range(PAGES):
        page = f"{KINDS[number % len(KINDS)]}_of_{TOPICS[number // len(KINDS)]}"
        size = 4.0 * 40.0 ** chance.random()
        yield (
            page,
            [round(size * day * one) for day, one in zip(everybody, page_factors(chance, days), strict=True)],
        )


def shared_factors(chance: random.Random, days: int) -> Iterator[float]:
    """Yield each day's factor for all pages."""
    mood = 0.0
    for number in range(days):
        day = FIRST_DAY + timedelta(days=number)
        mood = 0.6 * mood + 0.03 * draw_noise(chance)
        growth = 1.0 + YEARLY_GROWTH * number / 365.0
        growth *= NEW_READERS if number >= TRAIN_DAYS and days > TRAIN_DAYS + TEST_DAYS else 1.0
        yield growth * WEEK_FACTORS[day.weekday()] * seasonal_factor(day) * (1.0 + mood)


def seasonal_factor(day: date) -> float:
    """Interpolate between the middles of adjacent months."""
    along = (day.day - 15) / 30.0
    here, adjacent = (
        YEAR_FACTORS[day.month - 1],
        YEAR_FACTORS[(day.month if along > 0 else day.month - 2) % 12],
    )
    return here + abs(along) * (adjacent - here)


def page_factors(chance: random.Random, days: int) -> Iterator[float]:
    """Yield each day's factor for one page: chance, and now and then the news, which fade."""
    news = 0.0
    for _ in range(days):
        news *= 0.6
        if chance.random() < 0.001:
            news += 8.0 * chance.random()
        yield max(0.0, 1.0 + 0.3 * draw_noise(chance) + news)


def draw_noise(chance: random.Random) -> float:
    """Return about a normal variate; only sums and products, which every machine rounds alike."""
    return 2.0 * (chance.random() + chance.random() + chance.random() - 1.5)


def write(file: Path, start: int, end: int, table: dict[str, list[int]]) -> None:
    days = [FIRST_DAY + timedelta(days=number) for number in range(start, end)]
    new = file.with_suffix(".new")
    with new.open("w", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["Page", *days])
        rows.writerows([page, *counts[start:end]] for page, counts in table.items())
    new.replace(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Pages of the encyclopedia and their visits on a day, made up: before an app for phones, and after it."""

import random
from collections.abc import Iterator
from typing import Any

from resources.demo.generate import KINDS, WEEK_FACTORS, draw_noise

COLUMNS = ("topic", "weekday", "source", "links", "visits")
APP_SHARE, APP_FACTOR = (0.05, 0.6), (0.9, 3.0)  # of the pages, and of their visits: before, and after
NOISE = 0.12

Page = dict[str, Any]


def draw_pages(count: int, seed: int, *, has_changed: bool) -> Iterator[tuple[Page, int]]:
    """Yield pages, each with the visits that it turned out to have."""
    chance = random.Random(seed)
    for _ in range(count):
        topic, weekday = int(chance.random() * len(KINDS)), int(chance.random() * 7)
        is_app = chance.random() < APP_SHARE[has_changed]
        source = "app" if is_app else "search" if chance.random() < 0.7 else "link"
        links = int(100 * chance.random() * chance.random())
        visits = 20.0 * (1 + topic / 4) * WEEK_FACTORS[weekday] * (1.0 + links / 50.0)
        visits *= APP_FACTOR[has_changed] if is_app else 1.0 if source == "search" else 0.6
        page = {"topic": KINDS[topic], "weekday": weekday, "source": source, "links": links}
        yield page, max(1, round(visits * (1.0 + NOISE * draw_noise(chance))))

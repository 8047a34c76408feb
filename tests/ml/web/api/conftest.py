from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from common.auth import operator_token
from tests.harness import plain_http
from tests.ml.serving.conftest import make_shop, shop  # noqa: F401 (fixtures)
from tests.ml.serving.support import Shop

Operator = Callable[..., httpx.Response]


@contextmanager
def operators(shop: Shop) -> Iterator[Operator]:  # noqa: F811 (the fixture above)
    """Posts with the appliance's own token."""
    known = shop.settings.token or operator_token.read_stored(shop.settings.home)
    with plain_http.Client(
        timeout=30, headers={"Authorization": f"Bearer {known}"}, base_url=shop.url
    ) as client:

        def post(path: str, **asked: Any) -> httpx.Response:
            return client.post(path, json=asked) if asked else client.post(path)

        yield post


@pytest.fixture
def operator(shop: Shop) -> Iterator[Operator]:  # noqa: F811
    with operators(shop) as post:
        yield post

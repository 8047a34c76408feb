"""The access of untrusted code to the operator's package indexes, without their credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ml.environments.indexes import (
    DEFAULT_VARIABLES,
    EXTRA_VARIABLES,
    index_variables,
    indexes_from_env,
    network_variables,
)

if TYPE_CHECKING:
    from ml.environments.index_proxy import IndexProxy


@contextmanager
def open_indexes(with_default: bool = True) -> Iterator[tuple[dict[str, str], "IndexProxy | None"]]:
    """Yield uv's environment variables while it runs untrusted code, and the proxy of the indexes.

    The indexes are then on a loopback address with an unguessable path, and the proxy adds the credentials.
    Only pages of the indexes and what these link to can be downloaded.
    """
    default, more = (
        indexes_from_env(DEFAULT_VARIABLES)[: int(with_default)],
        indexes_from_env(EXTRA_VARIABLES),
    )
    if not default and not more:
        yield network_variables(), None
        return
    from ml.environments.index_proxy import IndexProxy  # noqa: PLC0415 (httpx is large, and rarely needed)

    with IndexProxy([*default, *more]) as proxy:
        addresses = [f"{proxy.address}/{number}/" for number in range(len(proxy.indexes))]
        yield (
            network_variables() | index_variables(addresses[: len(default)], addresses[len(default) :]),
            proxy,
        )

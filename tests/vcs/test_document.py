"""What vcs says of itself in its OpenAPI document is so."""

import httpx
import pytest

from tests.harness.exploring import FEW_OR_MANY, explore


@FEW_OR_MANY
@pytest.mark.timeout(1800)
def test_the_document_of_vcs_is_kept_to(client: httpx.Client, examples: int) -> None:
    explore(str(client.base_url).rstrip("/"), examples, leave="^/checkout$")  # that one asks GitHub

    assert client.get("/pull-requests").status_code == 200

"""The stores whose promises are tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.doubles import stores
from tests.doubles.stores import Ware

MAKERS: dict[str, tuple[str, Callable[[str], Ware]]] = {
    "s3": ("moto_endpoint", stores.s3),
    "gs": ("moto_endpoint", stores.gs),
    "az": ("azurite_endpoint", stores.az),
    "blob": ("azurite_endpoint", stores.blob),
}


@pytest.fixture(scope="session")
def moto_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stores.moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azurite_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stores.azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture(params=list(MAKERS))
def ware(request: pytest.FixtureRequest) -> Ware:
    """Every store, one after the other."""
    endpoint, make = MAKERS[request.param]
    return make(request.getfixturevalue(endpoint))


@pytest.fixture(params=["az", "blob"])
def strict_ware(request: pytest.FixtureRequest, azurite_endpoint: str) -> Ware:
    """Those that look at credentials; moto takes any."""
    return MAKERS[request.param][1](azurite_endpoint)

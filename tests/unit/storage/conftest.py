"""A web server that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.web import Web, serving


@pytest.fixture
def web(no_proxy: None) -> Iterator[Web]:
    with serving() as web:
        yield web

"""Which store a URL belongs to, and what it is there; for any URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wesgate.core.spec import Store
from wesgate.core.stores import is_blob, store_for
from wesgate.settings import ObjectStore
from wesgate.storage.locations import Location, locate
from wesgate.storage.target import Refused

STORES = [
    Store(url)
    for url in (
        "s3://",
        "s3://b/x/",
        "s3://b/x/y",
        "az://acc/",
        "https://a.blob.core.windows.net/c/",
        "http://h:1/acc/c",
    )
]


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("s3://b", "s3://"),
        ("s3://b/x/f", "s3://b/x/"),
        ("s3://b/x", "s3://b/x/"),
        ("s3://b/xx", "s3://"),
        ("S3://b/x/y/f", "s3://b/x/y"),
        ("s3://b/x/yy", "s3://b/x/"),
        ("s3://B/x/f", "s3://"),
        ("az://acc/c/f", "az://acc/"),
        ("az://account/c/f", None),
        ("HTTPS://A.blob.core.windows.net/c/f?sig=1#x", "https://a.blob.core.windows.net/c/"),
        ("https://a.blob.core.windows.net/cc/f", None),
        ("https://a.blob.core.windows.net/C/f", None),
        ("https://a.blob.core.windows.net@evil/c/f", None),
        ("https://a.blob.core.windows.net:444/c/f", None),
        ("https://user@a.blob.core.windows.net/c/f", None),
        ("http://h:1/acc/c?x", "http://h:1/acc/c"),
        ("gs://b/f", None),
        ("", None),
    ],
)
def test_the_longest_store_that_ends_where_a_part_does_is_the_one(url: str, store: str | None) -> None:
    found = store_for(url, STORES)
    assert (found and found.url) == store


@pytest.mark.parametrize(
    ("url", "blob"),
    [
        ("https://acc.blob.core.windows.net/c/f?sig=1", True),
        ("https://ACC.Blob.core.windows.net", True),
        ("https://acc-secondary.blob.core.usgovcloudapi.net/c", True),
        ("https://acc.z01.blob.storage.azure.net/c", True),
        ("http://acc.blob.core.windows.net/c", False),
        ("https://acc.blob.core.windows.net:443/c", False),
        ("https://acc.blob.core.windows.net.evil.org/c", False),
        ("https://evil.org/acc.blob.core.windows.net/c", False),
        ("https://evil.org#.blob.core.windows.net/c", False),
        ("https://evil.org\\.blob.core.windows.net/c", False),
        ("https://a@acc.blob.core.windows.net/c", False),
        ("https://.blob.core.windows.net/c", False),
    ],
)
def test_a_blob_is_told_by_its_host_alone(url: str, blob: bool) -> None:
    assert is_blob(url) is blob


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    for url in (
        text,
        f"s3://{text}",
        f"az://{text}",
        f"https://a.blob.core.windows.net/c/{text}",
        f"http://h:1/{text}",
    ):
        store = store_for(url, STORES)
        is_blob(url)
        try:
            found = locate(url, STORES)
        except Refused:
            continue
        assert store is not None or is_blob(url)
        assert not {"", ".", ".."}.intersection(found.key.split("/")) or not found.key


def az(url: str, **options: str) -> Location:
    return locate(url, [Store("az://", options)])


def test_an_azure_url_names_its_account_or_leaves_it_to_the_options() -> None:
    assert az("az://container/k", account_name="acc") == Location("az", "container", "k", {"account_name": "acc"})
    assert az("az://acc/container/k", account_name="acc") == Location("az", "container", "k", {"account_name": "acc"})
    assert az("az://acc/container/k") == Location("az", "container", "k", {"account_name": "acc"})


def test_a_signature_in_a_url_takes_the_place_of_credentials() -> None:
    url = "https://acc.blob.core.windows.net/c/a%20b?sp=r&sig=s%3D"
    store = Store("https://acc.blob.core.windows.net/", {"account_key": "key", "proxy_url": "http://proxy"})
    options = {"account_name": "acc", "endpoint": "https://acc.blob.core.windows.net", "sas_key": "sp=r&sig=s%3D"}
    assert locate(url, ()) == Location("az", "c", "a b", options)
    assert locate(url, [store]).options == {**options, "proxy_url": "http://proxy"}


@pytest.mark.parametrize("key", ["%2e%2e/f", "d/..%2Ff", "a%2F%2Fb", "%00", "%FF"])
def test_what_is_quoted_in_a_web_address_is_checked_as_it_is_meant(key: str) -> None:
    store = Store("https://acc.blob.core.windows.net/c/d/", {})
    with pytest.raises(Refused, match="its key"):
        locate(f"https://acc.blob.core.windows.net/c/d/{key}", [store])


def test_a_location_does_not_show_its_options() -> None:
    assert "secret" not in repr(az("az://c/k", account_name="acc", account_key="secret"))


@pytest.mark.parametrize(
    "url", ["", "ftp://h/", "https://", "https:///c", "https://u:p@h/c", "https://h", "https://h/c?q"]
)
def test_a_store_that_would_send_credentials_anywhere_cannot_be_set(url: str) -> None:
    with pytest.raises(ValidationError, match="must begin with"):
        ObjectStore(url=url)

"""URLs taken apart."""

from __future__ import annotations

import pytest

from wesgate.storage.target import Refused, parse, redacted, redirected


def test_user_and_password_become_a_header() -> None:
    target = parse("http://m%40e:p@host:81/a?q=1#f")
    assert (target.bare, target.login) == ("http://host:81/a?q=1", "Basic bUBlOnA=")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h", "http://h/"),
        ("HTTP://H:80/", "http://h/"),
        ("https://h:443/?", "https://h/"),
        ("http://h/a b/ü", "http://h/a%20b/%C3%BC"),
        ("http://h/a%20b?x=%2F", "http://h/a%20b?x=%2F"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[::1]:8/x", "http://[::1]:8/x"),
    ],
)
def test_a_url_is_quoted_once(url: str, sent: str) -> None:
    assert parse(url).bare == sent


@pytest.mark.parametrize(
    "url",
    [
        "http://", "http:///x", "http://[::1", "http://h:99999999/", "http://h:x/", "http://a b/", "http://a\x00b/",
        "http://h..i/", "http://[x]/", "ftp://h/", "file:///etc/passwd", "/etc/passwd", "http://h%0d%0aX:/",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_requested_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        parse(url)


def test_a_url_cannot_add_headers() -> None:
    assert "\r" not in parse("http://h/a\r\nX: y").bare
    assert " " not in parse("http://h/a?b HTTP/1.1").bare


@pytest.mark.parametrize("location", ["/b", "b", "http://host/b", "http://HOST:80/b"])
def test_a_login_stays_where_it_was_given_for(location: str) -> None:
    found = redirected(parse("http://me:pw@host/a"), location)
    assert (found.bare, found.login) == ("http://host/b", "Basic bWU6cHc=")


@pytest.mark.parametrize(
    "location", ["http://other/b", "http://host:81/b", "https://host/b", "//other/b", "http://host.other/b"]
)
def test_a_login_is_not_taken_elsewhere(location: str) -> None:
    assert redirected(parse("http://me:pw@host/a"), location).login == ""


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/", "http://a b/", "gopher://h:70/x"])
def test_a_redirect_leads_to_http_only(location: str) -> None:
    with pytest.raises(Refused, match="it redirects to "):
        redirected(parse("http://host/a"), location)


def test_a_redirect_does_not_give_up_encryption() -> None:
    with pytest.raises(Refused, match="which is not encrypted"):
        redirected(parse("https://host/a"), "http://host/a")


def test_a_redirect_may_hold_any_bytes() -> None:
    assert redirected(parse("http://h/"), "/ü x".encode().decode("latin-1")).bare == "http://h/%C3%BC%20x"


def test_what_may_be_secret_in_a_url_is_not_repeated() -> None:
    assert redacted("https://me:pw@host:8/a/b?sig=x#f") == "https://host:8/a/b"
    assert redacted("s3://bucket/k?AWSAccessKeyId=x") == "s3://bucket/k"
    assert "x" not in redacted("http://[x")

"""Which addresses may be fetched from."""

from __future__ import annotations

import pytest

from wesgate.core.addresses import NEVER, NOT_PUBLIC, is_allowed, is_public, refusal

PUBLIC = ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "::", "fd00::1",
           "fec0::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1", "224.0.0.1", "255.255.255.255",
           "192.0.0.1", "2001:db8::1"]  # fmt: skip
FORBIDDEN = ["169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "168.63.129.16", "fd00:ec2::254",
             "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "::ffff:169.254.169.254",
             "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2001::1", "::169.254.169.254",
             "::ffff:168.63.129.16"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_always_allowed(address: str) -> None:
    assert is_public(address)
    assert is_allowed(address, allow_private=False)
    assert is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_where_the_site_says_so(address: str) -> None:
    assert not is_public(address)
    assert not is_allowed(address, allow_private=False)
    assert is_allowed(address, allow_private=True)
    assert refusal(address) == NOT_PUBLIC


@pytest.mark.parametrize("address", FORBIDDEN)
def test_where_clouds_give_out_credentials_is_never_allowed(address: str) -> None:
    assert not is_public(address)
    assert not is_allowed(address, allow_private=False)
    assert not is_allowed(address, allow_private=True)
    assert refusal(address) == NEVER

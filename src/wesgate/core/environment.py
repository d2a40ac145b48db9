"""Which parts of this machine's environment are handed on to what fetches, or starts programs, in its name."""

from __future__ import annotations

from collections.abc import Mapping

PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})
"""In capitals as well, as programs do not agree."""

CERTIFICATES = "SSL_CERT_"


def for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """The part for this machine's programs: where they are, and how the network is reached."""
    return {name: value for name, value in environment.items() if name == "PATH" or name.lower() in PROXIES}


def for_fetching(environment: Mapping[str, str]) -> dict[str, str]:
    """The part for what fetches documents: with the site's own certificates, in files that others might not see."""
    own = {name: value for name, value in environment.items() if name.startswith(CERTIFICATES)}
    return for_programs(environment) | own

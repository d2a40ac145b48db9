"""The bodies of requests: how they are taken in, within which bounds."""

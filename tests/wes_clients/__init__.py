"""Every client of WES that docs/reference/wes.md names: what it sends, and what it needs in the answers."""

"""Every submitter of tasks that docs/reference/submitters.md names: what it sends, and what it can bear."""

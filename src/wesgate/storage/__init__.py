"""Where files are: what a URL names, fetched."""

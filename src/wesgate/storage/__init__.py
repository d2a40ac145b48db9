"""Where files are: one store by URL."""

"""wesgate: one GA4GH front door for every workflow engine and every compute backend."""

__version__: str


def __getattr__(name: str) -> str:
    # Workers and heads import this package too, and do without the 30 ms that reading it takes.
    if name == "__version__":
        from importlib.metadata import version

        return version("wesgate")
    raise AttributeError(name)

"""wesgate: one GA4GH front door for every workflow engine and every compute backend."""

from importlib.metadata import version

__version__ = version("wesgate")

"""The command line, against small servers of its own."""

"""`python -m wesgate` is the `wesgate` command."""

from wesgate.cli import main

main()

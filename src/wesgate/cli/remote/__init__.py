"""What the commands for runs and those for tasks share: asking a server, waiting for it, following its logs."""

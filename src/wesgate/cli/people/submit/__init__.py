"""`wesgate run`: from a workflow and its parameters on the command line to a run."""

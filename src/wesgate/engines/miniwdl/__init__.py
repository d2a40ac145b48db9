"""The miniwdl engine: one head job per run, whose tasks go through TES."""

"""What runs in the head of a run: miniwdl, with every task of the workflow handed to TES."""

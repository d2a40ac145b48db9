"""The loop: claim, look, decide, act, write."""

"""From a token to the owner it stands for."""

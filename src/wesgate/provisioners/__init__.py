"""What makes and removes an owner's own servers."""

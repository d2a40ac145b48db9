"""The routes of WES 1.1, and our own beside them."""

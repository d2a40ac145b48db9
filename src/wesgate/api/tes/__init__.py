"""TES 1.1 over HTTP: the routes of the spec, and our own beside them."""

"""Stand-ins for what the tests do not own: they keep the contracts of the real things."""

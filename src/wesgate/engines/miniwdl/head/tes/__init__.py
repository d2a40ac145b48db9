"""The way of a head to TES: its tasks as documents, and what became of them."""

"""For people: submit runs to any WES server, and see what becomes of them."""

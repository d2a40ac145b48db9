"""For operators: run the service, migrate its database, check it."""

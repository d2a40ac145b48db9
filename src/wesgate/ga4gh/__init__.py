"""The wire models of WES 1.1 and TES 1.1; nothing else knows their field names."""

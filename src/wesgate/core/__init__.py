"""The words of the domain: no input or output, no framework."""

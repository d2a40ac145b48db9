"""What steps run in: containers, sandboxed processes, plain processes; and which of them works here."""

"""Where workflows come from; all of it hostile until checked."""

"""How models of our own are trained: torch allowed, nothing here is an export target."""

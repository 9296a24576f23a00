"""What this machine is, and what a request may spend on it."""

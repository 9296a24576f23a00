"""Models as those who trained them in other ways left them, read as sources."""

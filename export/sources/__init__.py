"""What can be exported: models as they come, read one tensor at a time."""

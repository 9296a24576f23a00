"""What edgereason is measured against, in the same run."""

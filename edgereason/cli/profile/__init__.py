"""What is known of devices: list profiles, show one, measure this machine."""

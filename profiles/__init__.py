"""What is known of each device: one TOML a device, data only, with its source."""

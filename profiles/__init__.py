"""Devices, one TOML file each: data only. `edgereason.device` reads them."""

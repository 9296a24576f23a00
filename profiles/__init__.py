"""Devices, one TOML file each: data only. `edgereason.planning.device` reads them."""

"""The nano family: small decoders that reason in ways for which there are no public weights."""

"""ReasonCACHE prefixes: trained, converted, and carried along with a model."""

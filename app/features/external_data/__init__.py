"""Example of an I/O endpoint: asks another service, and stands firm when that one fails."""

"""Probes: is the process alive, may it get traffic, how is the database."""

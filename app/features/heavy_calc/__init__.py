"""Example of a CPU endpoint: takes the work, and a process of the worker's pool does it."""

"""Policies for operators: what is in force on every route, and switches that work at run time in every process."""

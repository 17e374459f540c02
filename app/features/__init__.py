"""Yours. One folder a resource."""

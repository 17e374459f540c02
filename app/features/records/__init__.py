"""Example of a database endpoint: named records of a user, with tags and a JSON payload."""

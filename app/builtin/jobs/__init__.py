"""Background jobs: their table, their state for people and programs, webhooks about their end."""

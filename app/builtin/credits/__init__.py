"""Credits: who has how many, what they were spent on, and on which plan an account is. PostgreSQL's ledger is the truth."""

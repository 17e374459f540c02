"""The database monitor: paths for programs, pages for people, and the history that they show."""

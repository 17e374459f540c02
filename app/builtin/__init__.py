"""Features that ship with the skeleton. Same shape as yours; delete what you do not need."""

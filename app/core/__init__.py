"""The platform. You call it; you rarely edit it."""

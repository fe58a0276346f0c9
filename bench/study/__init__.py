"""The definition of a study: arms, search spaces, configurations and settings."""

"""What a study is: its definition, search spaces, configurations and settings."""

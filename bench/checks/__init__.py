"""What is checked before any work starts."""

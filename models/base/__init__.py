"""What all families share: the model's contract, its configuration, distributions and units."""

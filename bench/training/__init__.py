"""Training: the loop, its compiled steps, optimizers, early stopping and checkpoints."""

"""Training: the loop, its compiled steps, optimizers, schedules and checkpoints."""

"""Gradient estimators measured: against closed forms, in the VAE itself, and by what each does to training."""

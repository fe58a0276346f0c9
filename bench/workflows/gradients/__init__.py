"""The gradient study: estimators against closed forms, in the VAE itself, and by the training of each."""

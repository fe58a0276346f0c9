"""The ladder VAE: layers of latents, each given those above it."""

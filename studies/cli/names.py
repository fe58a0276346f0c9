"""The bundled studies. Imports nothing, as ``--help`` lists them."""

STUDIES = ("vae_vs_glow", "strong_arms", "latent_size", "flow_depth", "learning_rate")

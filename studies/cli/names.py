"""The bundled studies. Imports nothing, as ``--help`` lists them."""

STUDIES = ("vae_vs_glow", "speech", "strong_arms", "text", "latent_size", "flow_depth", "learning_rate")

"""The studies that come with the project. No imports: ``--help`` lists them."""

STUDIES = ("vae_vs_glow", "latent_size", "flow_depth", "learning_rate")

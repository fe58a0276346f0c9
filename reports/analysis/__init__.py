"""Results in, frames and statistics out."""

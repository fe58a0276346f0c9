"""What the families of flows share: their settings, dequantisation, bound, sampling and diagnostics."""

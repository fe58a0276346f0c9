"""Measures cost: operations, the device's peak speed, memory, energy."""

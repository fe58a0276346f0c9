"""What a measurement costs: operations, the device's peak, memory, energy."""

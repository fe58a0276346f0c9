"""The machine under a run: the Keras backend, compiled programs, devices, memory, and where a result comes from."""

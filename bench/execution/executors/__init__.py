"""Who does the work of a study: this process itself, others on this machine, or a cluster."""

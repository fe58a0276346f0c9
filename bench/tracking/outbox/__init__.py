"""Keeps on disk what is logged until the tracking server has it."""

"""What every other folder of the harness uses: errors, seeds, logs, metrics and the result schema."""

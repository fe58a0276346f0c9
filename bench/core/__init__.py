"""What every part of the harness uses: errors, seeds, logs, the result schema."""

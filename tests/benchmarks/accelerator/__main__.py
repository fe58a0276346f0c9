"""`make benchmark-accelerator`."""

from tests.benchmarks.accelerator.measure import main

main()

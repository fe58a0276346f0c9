"""`make benchmark-scaling`."""

# First, for it takes training's place before anything asks for it.
import tests.faults.stand_in  # noqa: F401
from tests.benchmarks.scaling.measure import main

main()

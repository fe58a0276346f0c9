"""`make benchmark-peers`, its second part."""

from tests.benchmarks.peers.likelihood.measure import main

main()

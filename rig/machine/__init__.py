"""Random work and faults on real hosts, judged by an oracle that shares no code with the product."""

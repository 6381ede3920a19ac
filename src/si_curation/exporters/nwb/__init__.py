"""NWB: curated units that other tools read right, written safely."""

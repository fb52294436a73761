"""What stands in for the parts that a benchmark is not about."""

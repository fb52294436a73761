"""Forecasts of a run: performance of workers, simulated schedules, the scaling rule and plans."""

# All functions are pure arithmetic on values of `cloudburst.models`: they use no clock and no
# I/O.

"""Scheduler, which decides which scene goes to which worker and when a worker is started.

Other packages use the class `Scheduler` and its parts. It makes all decisions
without awaiting, so that no two decisions race.
"""

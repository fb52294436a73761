"""Runs of clients on an emulated AWS account, and runs of the engine alone in virtual time."""

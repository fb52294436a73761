"""Emulator of ECS Fargate for tests: it serves AWS's APIs locally and runs tasks as processes."""

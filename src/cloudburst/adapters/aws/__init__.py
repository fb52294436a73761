"""AWS: Fargate tasks as workers."""

"""Use of AWS: setting up an account for rendering, and ECS Fargate tasks as workers."""

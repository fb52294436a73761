"""Backend that runs workers as tasks on ECS Fargate."""

"""Setting up, looking at and cleaning an AWS account for cloudburst."""

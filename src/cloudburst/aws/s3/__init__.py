"""Files in Amazon S3: objects, deliveries of videos, and claims of their names."""

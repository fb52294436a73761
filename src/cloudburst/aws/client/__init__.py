"""Client for AWS's APIs: sessions, credentials, retries, rate limits and validated responses."""

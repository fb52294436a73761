"""Emulated S3 API: buckets and objects of the emulated account, kept in a temporary folder."""

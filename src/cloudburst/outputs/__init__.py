"""Folders of videos on this machine and in S3, with their locks, journals and bills."""

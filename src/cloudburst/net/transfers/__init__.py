"""Transfers of files from and to S3 and web servers.

Every server is treated as hostile: size, time and memory are limited, redirects are not followed,
and addresses are checked before a connection is made.
"""

"""Decides who renders what, when and where. Knows no AWS, HTTP library or subprocess."""

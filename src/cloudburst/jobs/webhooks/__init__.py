"""Webhooks: signed HTTP requests that report the events of jobs to other web servers.

They follow Standard Webhooks 1.0 (https://www.standardwebhooks.com). A *message* is one event for
one webhook. Messages wait in the *outbox*, a table in the database of the jobs, until they are
delivered.
"""

"""What people see of a run: in a terminal, in logs, in a notebook and as a page."""

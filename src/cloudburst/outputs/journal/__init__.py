"""Journal of a run in ``.cloudburst/<run>.sqlite`` of its output folder.

The file survives SIGKILL, a power failure and a full disk. Files for people, such as post-mortems,
are beside it in ``.cloudburst/<run>/``.
"""

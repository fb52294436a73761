"""Journal of a run in ``.cloudburst/<run>.sqlite`` of its output folder.

The file survives SIGKILL, a power failure and a full disk. Files for people, such as post-mortems,
are beside it in ``.cloudburst/<run>/``.
"""

from __future__ import annotations

from cloudburst.models.journal_entries import JournalState
from cloudburst.outputs.journal.reader import (
    folders_with_journals,
    is_run_name,
    journal_folder,
    journal_path,
    journal_paths,
    read_journal,
)
from cloudburst.outputs.journal.writer import SqliteJournal, open_journal

__all__ = [
    "JournalState",
    "SqliteJournal",
    "folders_with_journals",
    "is_run_name",
    "journal_folder",
    "journal_path",
    "journal_paths",
    "open_journal",
    "read_journal",
]

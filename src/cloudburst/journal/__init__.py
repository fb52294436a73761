"""What each run writes down, in ``.cloudburst/<run>.sqlite`` of its output folder.

One file for each run, which outlives the process: SIGKILL, loss of power, a full disk. Files that
a run keeps for people lie beside it, in ``.cloudburst/<run>/``.
"""

from __future__ import annotations

from cloudburst.journal.reading import journal_path, journals, read_past
from cloudburst.journal.writing import SqliteJournal, open_journal
from cloudburst.models.past import Past

__all__ = ["Past", "SqliteJournal", "journal_path", "journals", "open_journal", "read_past"]

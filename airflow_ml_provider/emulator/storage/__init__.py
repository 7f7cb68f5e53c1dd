"""Cloud Storage's JSON API over SQLite and files.

What it keeps lies in one folder: ``metadata.db`` holds buckets, objects and unfinished uploads, and
``content/`` one file per content. Content is written before the transaction that makes it an object's, and is
never changed afterwards, so an emulator that is killed leaves the old object or the new one.
"""

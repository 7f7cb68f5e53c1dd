"""Cloud Storage's JSON API over SQLite and files."""

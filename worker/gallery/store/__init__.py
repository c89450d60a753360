"""Where pictures lie: a folder, a bucket."""

"""What is inside of files. Knows nothing of Django, tables or storage: the limited child runs only this."""

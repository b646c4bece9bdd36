"""What: works, their files and states; uploading, drafting and scheduling."""

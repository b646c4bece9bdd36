"""Who: users, workspaces, DeviantArt accounts and their tokens, API keys, the audit trail, notifications."""

"""When: rules that pick drafts and schedule them."""

"""When: rules that pick drafts and schedule them. Its rooms are built when the first rule needs them."""

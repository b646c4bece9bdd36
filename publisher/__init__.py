"""How: claims what is due, uploads, publishes, settles what is unknown, rescues what got stuck."""

"""What gunicorn reads by itself in the folder where it is started; the rest stands in the command."""

import gunicorn  # type: ignore[import-untyped]

gunicorn.SERVER = "isekai"  # the header tells nothing that helps to choose an attack
logger_class = "isekai.webserver.EventLogger"

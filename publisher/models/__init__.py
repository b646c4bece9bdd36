from publisher.models.attempts import Attempt
from publisher.models.holds import GalleryCheck, InstallationHold
from publisher.models.publications import Publication, StashItem
from publisher.models.workers import Worker

__all__ = ["Attempt", "GalleryCheck", "InstallationHold", "Publication", "StashItem", "Worker"]

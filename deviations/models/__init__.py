from deviations.models.deviations import Deviation, DeviationQuerySet
from deviations.models.files import DeviationFile, FileVariant
from deviations.models.uploads import Upload

__all__ = ["Deviation", "DeviationFile", "DeviationQuerySet", "FileVariant", "Upload"]

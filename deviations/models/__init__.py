from deviations.models.deviations import Deviation
from deviations.models.files import DeviationFile, FileVariant
from deviations.models.uploads import Upload

__all__ = ["Deviation", "DeviationFile", "FileVariant", "Upload"]

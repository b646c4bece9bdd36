"""How much a file may ask of us before anything of it is decoded, and of the child that decodes it.

A picture of 100 million pixels takes 400 MB as RGBA; the address space of the child fits that and a conversion.
"""

MAX_PIXELS = 100_000_000
MAX_SIDE = 30_000
MAX_FRAMES = 2_000
# Of all frames of an animation together: what decoding it costs in time.
MAX_PIXELS_OF_ALL_FRAMES = 1_000_000_000
# Chunks, segments, boxes, elements: no honest file of 50 MB comes near.
MAX_PARTS = 1_000_000

CHILD_ADDRESS_SPACE_BYTES = 1536 * 1024 * 1024
# Whatever it writes: a stripped copy is never longer than its original.
CHILD_FILE_BYTES = 256 * 1024 * 1024
CHILD_CPU_SECONDS = 40
CHILD_WALL_SECONDS = 90

"""Data sets of the benchmark of the number of clusters, and which of them judge.

``JUDGING`` was committed before any rule for the number of clusters had run on these sets. They are
ten sets of a folder that the first reports of a rule do not mention, less ``scene15`` (the same
kind of descriptors as ``landuse21``, and the largest) and ``mintrec_text`` (its utterances are
those of ``spoken_intents``). Rules were chosen on ``DEVELOPMENT``.
"""

JUDGING = (
    "uci_digits",
    "spoken_intents",
    "basicmotions",
    "snips",
    "clinc_domain",
    "banking77",
    "landuse21",
    "rosmap",
)
DEVELOPMENT = (
    "digits",
    "wine",
    "breast_cancer",
    "iris",
    "breast_tcga",
    "image_segments",
    "japanesevowels",
)
BLOBS = (3, 5, 10, 20)  # numbers of clusters of the synthetic sets, each at three noise levels

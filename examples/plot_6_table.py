"""
A table as it is
================

Text, numbers and categories of one table, each as a modality of its own.
"""

# %%
# The table
# ---------
# Messages to a help desk: their subject, the minutes that they took and the hour of the day, and
# where they came from. Each column tells something of the topic, none all of it. Some are empty.

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skumc import UMCClusterer
from skumc.feature_extraction import MultimodalFeatures

rng = np.random.default_rng(0)
topic = rng.integers(0, 4, 600)
words = [
    "parcel courier address delivery please help today order",
    "parcel broken damaged return please help today order",
    "card payment declined account please help today order",
    "card refund invoice twice please help today order",
]
table = pd.DataFrame(
    {
        "subject": [" ".join(rng.choice(words[t].split(), 4)) for t in topic],
        "minutes": rng.normal(np.array([2.0, 9.0, 5.0, 14.0])[topic], 2.0),
        "hour": rng.normal(np.array([9.0, 12.0, 18.0, 15.0])[topic], 2.0),
        "channel": np.where(rng.random(600) < 0.8, topic, rng.integers(0, 4, 600)),
    },
    index=[f"ticket {i}" for i in range(600)],
)
table["channel"] = table["channel"].map(dict(enumerate(["web", "chat", "mail", "phone"])))
table.loc[rng.random(600) < 0.1, "subject"] = None
table.head()

# %%
# From columns to clusters
# ------------------------
# A modality is a transformer and its columns. Its name is yours, and its parameters are parameters
# of the pipeline, such as ``multimodalfeatures__numbers__with_std``.

features = MultimodalFeatures(
    text=(TfidfVectorizer(), "subject"),
    numbers=(StandardScaler(), ["minutes", "hour"]),
    channel=OneHotEncoder(),
)
pipeline = make_pipeline(features, UMCClusterer(4, random_state=0)).set_output(transform="pandas")
clusters = pd.Series(pipeline.fit_predict(table), index=table.index)
pd.crosstab(topic, clusters, rownames=["topic"], colnames=["cluster"])

# %%
# The share of each modality in the embedding of a ticket, by cluster:

weights = pipeline[-1].modality_weights(pipeline[0].transform(table))
weights.groupby(clusters).mean().round(2)

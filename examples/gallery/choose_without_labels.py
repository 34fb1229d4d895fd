"""
Choose the size, beta and a prior without labels
================================================

Nobody has told you which rows are abnormal, so no AUROC can be computed. What can be
looked at are the density of rows that no fit has seen, and what each latent dimension
carries.
"""

# %%
# Measurements of wine. Rows come ordered by the grape, so folds have to be shuffled:

import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

from latentsk import PCAEmbedder, VAEEmbedder

X = StandardScaler().fit_transform(load_wine().data)
folds = KFold(5, shuffle=True, random_state=0)

# %%
# **The number of components** of the linear model: the mean log-density of rows left
# out is the score that scikit-learn's search maximizes when there is no `y`.

search = GridSearchCV(PCAEmbedder(), {"n_components": range(1, 11)}, cv=folds).fit(X)
scores = search.cv_results_["mean_test_score"]
fig, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
ax.plot(range(1, 11), scores, "o-")
ax.set(xlabel="n_components", ylabel="density of rows left out (nats)")
print("best:", search.best_params_)
# sphinx_gallery_alt = "Mean log-density of wines left out, for 1 to 10 components: it "
# sphinx_gallery_alt = "rises steeply up to three components and is highest at eight."

# %%
# **A variational autoencoder** leaves dimensions that it does not need unused. More
# than enough does no harm; the report tells how many nats each one carries:

vae = VAEEmbedder(8, kl_warmup=0.5, random_state=0).fit(X)
print(vae.latent_report(X).dimensions.round(2))

# %%
# **beta** weighs the divergence (KL). Above 1 the latent coordinates carry less; below
# 1 they carry more, and those of all rows together are farther from the prior, so that
# draws from it look less like rows. Compare by what you need, not by the loss, which
# has `beta` in it:

rows = []
for beta in (0.3, 1.0, 3.0):
    model = VAEEmbedder(8, beta=beta, random_state=0).fit(X[::2])
    report = model.latent_report(X[1::2])
    rows.append((beta, model.score(X[1::2]), report.kl, report.distance_from_prior))
columns = ["beta", "ELBO", "KL", "distance from prior"]
print(pd.DataFrame(rows, columns=columns).round(2))

# %%
# **A prior** is chosen the same way, by the density of rows left out: densities are in
# the units of the rows, whatever the prior.

for prior in ("normal", "mixture"):
    model = VAEEmbedder(2, prior=prior, random_state=0).fit(X[::2])
    density, _ = model.log_likelihood(X[1::2])
    print(f"{prior:8}{density.mean():8.2f} nats")
plt.show()
